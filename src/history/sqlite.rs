//! SQLite: one file, one connection that writes, and a few that read beside it.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Instant,
};

use futures_util::StreamExt;
use sqlx::{
    ConnectOptions, Connection, Sqlite, SqlitePool,
    pool::PoolConnection,
    query::Query,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

use super::{
    files, migrations,
    page::Page,
    query::{self, Filter, Window},
    row::{COLUMNS, Row},
    trouble::NotWritten,
};
use crate::config::HistoryConfig;

/// Rows of one statement: each size is prepared once, and what is left over takes smaller ones.
const CHUNKS: [usize; 5] = [512, 64, 16, 4, 1];

/// What most rows of a batch have in common: bound once per statement.
const SHARED: [&str; 3] = ["model", "version", "provider"];

/// Readers beside the one writer.
const READERS: u32 = 4;

/// Of a new file, in bytes: a batch of rows fills several of them either way, and each is two calls to the system.
const PAGE: u32 = 16 * 1024;

/// Pages of the log after which they are moved to the file, 16 MiB: fewer moves, each of which waits for the disk.
const CHECKPOINT_PAGES: &str = "1000";

/// Between two looks whether a reader's time has passed, in steps of SQLite's machine.
const STEPS: i32 = 100_000;

/// A file with a table of rows.
#[derive(Debug)]
pub(super) struct SqliteStore {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens nothing yet.
    pub(super) fn new(config: &HistoryConfig) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(&config.sqlite_path)
            .create_if_missing(true)
            .page_size(PAGE)
            // Readers do not hold up the writer; what was committed outlives the process, though not a power cut.
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            // What was deleted is overwritten: people have a right to be forgotten.
            .pragma("secure_delete", "ON")
            .busy_timeout(config.flush_interval)
            .thread_name(|_| "glassbox-sqlite".to_owned())
            .disable_statement_logging();
        let pool = |size| {
            SqlitePoolOptions::new()
                .max_connections(size)
                .acquire_timeout(config.statement_timeout)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        Self {
            path: config.sqlite_path.clone(),
            writer: pool(1).connect_lazy_with(options.clone()),
            readers: pool(READERS).connect_lazy_with(options.pragma("query_only", "ON")),
        }
    }

    /// Makes the folder, the file and its tables.
    pub(super) async fn migrate(&self) -> Result<(), sqlx::Error> {
        make_file(&self.path)?;
        let migrator = migrations::SQLITE.migrator().await?;
        let mut connection = self.writer.acquire().await?;
        // Held from before it is looked what is there: several servers may start at once.
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        migrator.run_direct(&mut *transaction).await.map_err(migrations::failed)?;
        transaction.commit().await
    }

    /// A connection to write with.
    pub(super) async fn writer(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        make_file(&self.path)?;
        self.writer.acquire().await
    }

    /// Writes all rows that are not there yet, or none.
    pub(super) async fn insert(connection: &mut PoolConnection<Sqlite>, rows: &[Row]) -> Result<(), NotWritten> {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut rows: Vec<&Row> = rows.iter().collect();
        // Requests are answered in another order than that in which they came: what comes last in the table is found at once.
        rows.sort_by_cached_key(|row| row.id);
        rows.sort_by(|one, other| shared(one).cmp(&shared(other)));
        for mut rest in rows.chunk_by(|one, other| shared(one) == shared(other)) {
            for size in CHUNKS {
                while let Some((chunk, others)) = rest.split_at_checked(size) {
                    insert_query(chunk).execute(&mut *transaction).await?;
                    rest = others;
                }
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// One page.
    pub(super) async fn page(
        connection: &mut PoolConnection<Sqlite>,
        filter: Filter,
        window: Window,
    ) -> Result<Page, sqlx::Error> {
        let mut query = query::select::<Sqlite>(filter, window);
        let rows = query.build().fetch(&mut **connection);
        Page::gather(rows.map(|row| query::read(&row?)), window).await
    }

    /// How many rows there are.
    pub(super) async fn count(connection: &mut PoolConnection<Sqlite>) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("SELECT count(*) FROM predictions").fetch_one(&mut **connection).await
    }

    /// The id of the row before which so many older ones stand.
    pub(super) async fn id_after(
        connection: &mut PoolConnection<Sqlite>,
        older: i64,
    ) -> Result<Option<Uuid>, sqlx::Error> {
        let query = sqlx::query_scalar("SELECT id FROM predictions ORDER BY id LIMIT 1 OFFSET ?");
        query.bind(older).fetch_optional(&mut **connection).await
    }

    /// Deletes at most `rows` rows that fit.
    pub(super) async fn delete(
        connection: &mut PoolConnection<Sqlite>,
        filter: Filter,
        rows: i64,
    ) -> Result<u64, sqlx::Error> {
        let deleted = query::delete::<Sqlite>(filter, rows).build().execute(&mut **connection).await?;
        Ok(deleted.rows_affected())
    }

    /// Moves what was written into the one file, and ends.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A connection to read with; what takes it longer than to `deadline` is interrupted.
    pub(super) async fn reader(&self, deadline: Instant) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        let mut connection = self.readers.acquire().await?;
        // Nobody else stops a statement that finds nothing for a long time.
        connection.lock_handle().await?.set_progress_handler(STEPS, move || Instant::now() < deadline);
        Ok(connection)
    }
}

/// The values of [`SHARED`].
fn shared(row: &Row) -> [&str; SHARED.len()] {
    [&row.model, &row.version, &row.provider]
}

/// Writes `rows`, which share what is shared and are as many as there is a statement for, unless they are there.
fn insert_query<'q>(rows: &[&'q Row]) -> Query<'q, Sqlite, SqliteArguments<'q>> {
    static TEXTS: OnceLock<[String; CHUNKS.len()]> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| CHUNKS.map(insert_sql));
    let text = CHUNKS.iter().position(|size| *size == rows.len()).map_or("", |index| &texts[index]);
    let mut query = sqlx::query(text);
    for row in rows {
        query = query
            .bind(row.id)
            .bind(row.request_id.as_deref())
            .bind(row.item)
            .bind(row.key_id.as_deref())
            .bind(row.trace_id.as_deref())
            .bind(row.input_hash)
            .bind(row.prediction.as_deref())
            .bind(row.label.as_deref())
            .bind(row.confidence)
            .bind(row.latency_us)
            .bind(row.cached)
            .bind(row.input.as_deref());
    }
    rows.first().into_iter().flat_map(|row| shared(row)).fold(query, Query::bind)
}

/// Values of rows in the order of [`COLUMNS`], then those that all of them share.
fn insert_sql(rows: usize) -> String {
    let own = rows * (COLUMNS.len() - SHARED.len());
    let value = |column: &str| {
        let shared = SHARED.iter().position(|shared| *shared == column);
        shared.map_or_else(|| "?".to_owned(), |index| format!("${}", own + index + 1))
    };
    let row = format!("({})", COLUMNS.map(value).join(","));
    let rows = vec![row; rows].join(",");
    // "OR FAIL": a statement that fails ends its transaction anyway. Without, SQLite writes down how every page was, to undo
    // the one statement.
    format!("INSERT OR FAIL INTO predictions ({}) VALUES {rows} ON CONFLICT (id) DO NOTHING", COLUMNS.join(","))
}

/// The file and its folder. SQLite makes the files beside it alike.
fn make_file(path: &Path) -> io::Result<()> {
    files::make_folder(path)?;
    match files::own(File::options().write(true).create_new(true)).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
