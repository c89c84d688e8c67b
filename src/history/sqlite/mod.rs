//! SQLite: one file, a connection that writes rows, one that deletes them, and a few that read beside these.

mod place;
mod writer;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use sqlx::{
    ConnectOptions, Connection, Sqlite, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Mutex;
use uuid::Uuid;

use self::{
    place::{Place, Replacement},
    writer::RowWriter,
};
use super::{
    files, migrations,
    page::Page,
    query::{self, Filter, Window},
    rows::Rows,
    trouble::{NotWritten, Trouble},
};
use crate::config::HistoryConfig;

/// Readers beside the one writer.
const READERS: u32 = 4;

/// Of a new file, in bytes: a batch of rows fills several of them either way, and each is two calls to the system.
const PAGE: u32 = 16 * 1024;

/// Pages of the log after which they are moved to the file, 16 MiB: fewer moves, each of which waits for the disk.
const CHECKPOINT_PAGES: &str = "1000";

/// Moves the log into the file, and leaves it empty.
const CHECKPOINT: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// Between two looks whether a reader's time has passed, in steps of SQLite's machine.
const STEPS: i32 = 100_000;

/// A file with a table of rows.
#[derive(Debug)]
pub(super) struct SqliteStore {
    path: PathBuf,
    options: SqliteConnectOptions,
    acquire_timeout: Duration,
    rows: RowWriter,
    /// None before it is needed for the first time.
    opened: Mutex<Option<Arc<Opened>>>,
    replacement: Replacement,
}

/// The connections to one file.
#[derive(Debug)]
pub(super) struct Opened {
    place: Place,
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens nothing yet.
    pub(super) fn new(config: &HistoryConfig) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(&config.sqlite_path)
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
        Self {
            path: config.sqlite_path.clone(),
            options,
            acquire_timeout: config.statement_timeout,
            rows: RowWriter::new(config.flush_interval),
            opened: Mutex::default(),
            replacement: Replacement::default(),
        }
    }

    /// Makes the folder, the file and its tables.
    pub(super) async fn migrate(&self) -> Result<(), sqlx::Error> {
        let migrator = migrations::SQLITE.migrator().await?;
        let mut connection = self.writer().await?;
        // Held from before it is looked what is there: several servers may start at once.
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        migrator.run_direct(&mut *transaction).await.map_err(migrations::failed)?;
        transaction.commit().await
    }

    /// A connection to change rows with.
    pub(super) async fn writer(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        make_file(&self.path)?;
        let opened = self.opened().await?;
        opened.connection(&opened.writer).await
    }

    /// Writes all rows that are not there yet, or none.
    pub(super) async fn insert(&self, rows: Rows) -> Result<(), NotWritten> {
        make_file(&self.path).map_err(|_| Trouble::Unreachable)?;
        let opened = self.opened().await.map_err(Trouble::from)?;
        self.rows.insert(opened, rows).await
    }

    /// Whether another file has come in the place of the one that was in use, since this was asked the last time.
    pub(super) async fn is_replaced(&self) -> bool {
        let mut held = self.opened.lock().await;
        if let Some(opened) = &*held
            && !opened.place.is_unchanged()
        {
            self.let_go(opened).await;
            *held = None;
        }
        self.replacement.is_news()
    }

    /// Whether that happened within the last minute.
    pub(super) fn was_replaced(&self) -> bool {
        self.replacement.is_recent()
    }

    /// The connections to the file that is there now. Those to one that was deleted or replaced are closed first: they would
    /// take rows that nobody finds again.
    async fn opened(&self) -> Result<Arc<Opened>, sqlx::Error> {
        let mut held = self.opened.lock().await;
        if let Some(opened) = &*held {
            if opened.place.is_unchanged() {
                return Ok(Arc::clone(opened));
            }
            self.let_go(opened).await;
        }
        *held = None;
        let pool = |size| {
            SqlitePoolOptions::new()
                .max_connections(size)
                .acquire_timeout(self.acquire_timeout)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let opened = Arc::new(Opened {
            place: Place::of(&self.path)?,
            writer: pool(1).connect_lazy_with(self.options.clone()),
            readers: pool(READERS).connect_lazy_with(self.options.clone().pragma("query_only", "ON")),
        });
        *held = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Ends the connections to a file that has lost its place.
    async fn let_go(&self, opened: &Opened) {
        if !self.rows.is_open().await {
            opened.checkpoint().await;
        }
        opened.readers.close().await;
        opened.writer.close().await;
        self.rows.let_go(opened.place.clone()).await;
        self.replacement.note();
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
        if let Some(opened) = self.opened.lock().await.take() {
            opened.readers.close().await;
            opened.writer.close().await;
        }
        self.rows.close().await;
    }

    /// A connection to read with; what takes it longer than to `deadline` is interrupted.
    pub(super) async fn reader(&self, deadline: Instant) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        let opened = self.opened().await?;
        let mut connection = opened.connection(&opened.readers).await?;
        // Nobody else stops a statement that finds nothing for a long time.
        connection.lock_handle().await?.set_progress_handler(STEPS, move || Instant::now() < deadline);
        Ok(connection)
    }
}

impl Opened {
    /// Moves the log into the file on a connection that is open already: a new one would be to another file.
    async fn checkpoint(&self) {
        if let Some(mut connection) = self.writer.try_acquire().or_else(|| self.readers.try_acquire()) {
            let _ = sqlx::query(CHECKPOINT).execute(&mut *connection).await;
        }
    }

    /// A connection of one of its pools, which is to this file.
    async fn connection(&self, pool: &SqlitePool) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        let connection = pool.acquire().await?;
        // It may have been opened just now.
        if self.place.is_unchanged() { Ok(connection) } else { Err(io::Error::other("the file was replaced").into()) }
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
