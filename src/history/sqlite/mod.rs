//! SQLite: one file, a connection that writes rows, one that deletes them, and a few that read beside these.

mod writer;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Instant,
};

use futures_util::StreamExt;
use sqlx::{
    ConnectOptions, Connection, Sqlite, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

use self::writer::RowWriter;
use super::{
    files, migrations,
    page::Page,
    query::{self, Filter, Window},
    rows::Rows,
    trouble::NotWritten,
};
use crate::config::HistoryConfig;

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
    rows: RowWriter,
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
            rows: RowWriter::new(config.sqlite_path.clone(), config.flush_interval),
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

    /// A connection to change rows with.
    pub(super) async fn writer(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        make_file(&self.path)?;
        self.writer.acquire().await
    }

    /// Writes all rows that are not there yet, or none.
    pub(super) async fn insert(&self, rows: Rows) -> Result<(), NotWritten> {
        self.rows.insert(rows).await
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
        self.rows.close().await;
    }

    /// A connection to read with; what takes it longer than to `deadline` is interrupted.
    pub(super) async fn reader(&self, deadline: Instant) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        let mut connection = self.readers.acquire().await?;
        // Nobody else stops a statement that finds nothing for a long time.
        connection.lock_handle().await?.set_progress_handler(STEPS, move || Instant::now() < deadline);
        Ok(connection)
    }
}

/// The file and its folder. SQLite makes the files beside it alike.
fn make_file(path: &Path) -> io::Result<()> {
    files::make_folder(path)?;
    match files::own(File::options().write(true).create_new(true)).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
