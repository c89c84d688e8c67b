//! The connection that writes rows into SQLite's file.
//!
//! Not sqlx's, which everything else here uses: that takes a copy of every value to a thread of its own, a third of what a
//! row cost. It is the same SQLite, and rows are bound from where they lie.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Statement, TransactionBehavior, config::DbConfig};
use tokio::{
    sync::{Mutex, oneshot},
    task::spawn_blocking,
};

use super::{
    super::{
        row::{COLUMNS, Row},
        rows::Rows,
        trouble::{NotWritten, Trouble},
    },
    CHECKPOINT, CHECKPOINT_PAGES, Opened, Place,
};

/// Rows of one statement; what is left over is written one by one. More of them make one no cheaper.
const CHUNK: usize = 16;

/// What most rows of a batch have in common: bound once per statement.
const SHARED: [&str; 3] = ["model", "version", "provider"];

static MANY: LazyLock<String> = LazyLock::new(|| insert_sql(CHUNK));
static ONE: LazyLock<String> = LazyLock::new(|| insert_sql(1));

/// Writes rows.
#[derive(Debug)]
pub(super) struct RowWriter {
    busy_timeout: Duration,
    /// None before the first row, and after an error that leaves it of no use.
    connection: Arc<Mutex<Option<Connection>>>,
}

impl RowWriter {
    /// Opens nothing yet.
    pub(super) fn new(busy_timeout: Duration) -> Self {
        Self { busy_timeout, connection: Arc::default() }
    }

    /// Writes all rows that are not there yet, or none. Who does not wait for the end may find them written nevertheless.
    pub(super) async fn insert(&self, opened: Arc<Opened>, rows: Rows) -> Result<(), NotWritten> {
        let mut held = Arc::clone(&self.connection).lock_owned().await;
        let busy_timeout = self.busy_timeout;
        let (answer, answered) = oneshot::channel();
        // It may wait for the disk.
        spawn_blocking(move || {
            let done = open(held.take(), &opened.place, busy_timeout).and_then(|mut connection| {
                // The file may lose its place during the very first write.
                opened.place.see_log(false);
                let written = write(&mut connection, &rows, || !answer.is_closed());
                if is_usable(&connection, &written) {
                    // Who holds the file may keep this connection from its log.
                    opened.place.see_log(!matches!(written, Err(NotWritten::Away(Trouble::Locked))));
                    *held = Some(connection);
                } else {
                    drop(connection);
                    opened.place.release_log();
                }
                written?;
                // Rows in a file that has lost its name are stored nowhere.
                if opened.place.is_unchanged() { Ok(()) } else { Err(Trouble::Replaced.into()) }
            });
            // Before the answer: who asks next finds the connection, who has them all finds the rows' memory.
            drop((held, rows));
            let _ = answer.send(done);
        });
        // Nobody answers while the server goes down with its runtime.
        answered.await.unwrap_or(Err(NotWritten::Away(Trouble::Unreachable)))
    }

    /// Ends.
    pub(super) async fn close(&self) {
        let connection = self.connection.lock().await.take();
        // The last one to close the file moves what was written into it.
        let _ = spawn_blocking(|| drop(connection)).await;
    }

    /// Whether a connection is open.
    pub(super) async fn is_open(&self) -> bool {
        self.connection.lock().await.is_some()
    }

    /// Ends the connection to a file that has lost its place. What is in the log goes into that file, wherever it is now; and the
    /// log goes, which is none of the file that has come instead.
    pub(super) async fn let_go(&self, place: Place) {
        let mut held = Arc::clone(&self.connection).lock_owned().await;
        let _ = spawn_blocking(move || {
            let connection = held.take();
            if let Some(connection) = &connection {
                let _ = connection.query_row(CHECKPOINT, [], |_| Ok(()));
                // SQLite would delete a log by its name, and that may be another one by now.
                let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            }
            // Before the connection ends: as long as it has the log open, no other file can have the log's number.
            place.take_log_away();
            drop(connection);
        })
        .await;
    }
}

/// Whether a connection can go on. One that is kept while the database takes nothing is there to move the log into the file,
/// should that be replaced meanwhile.
fn is_usable(connection: &Connection, written: &Result<(), NotWritten>) -> bool {
    let is_lasting = match written {
        Err(NotWritten::Away(trouble)) => matches!(trouble, Trouble::Full | Trouble::Locked | Trouble::Slow),
        Ok(()) | Err(NotWritten::Rejected) => true,
    };
    // In a transaction that could not be rolled back, nothing new is ever committed.
    is_lasting && connection.is_autocommit()
}

fn open(kept: Option<Connection>, place: &Place, busy_timeout: Duration) -> Result<Connection, NotWritten> {
    if let Some(connection) = kept {
        return Ok(connection);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&place.path, flags)?;
    if !place.is_unchanged() {
        return Err(Trouble::Replaced.into());
    }
    connection.busy_timeout(busy_timeout)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(connection)
}

fn write(connection: &mut Connection, rows: &[Row], is_wanted: impl Fn() -> bool) -> Result<(), NotWritten> {
    let mut rows: Vec<&Row> = rows.iter().collect();
    // Requests are answered in another order than that in which they came: what comes last in the table is found at once.
    rows.sort_by_cached_key(|row| row.id);
    rows.sort_by(|one, other| shared(one).cmp(&shared(other)));
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let (mut many, mut one) = (transaction.prepare_cached(&MANY)?, transaction.prepare_cached(&ONE)?);
        for same in rows.chunk_by(|one, other| shared(one) == shared(other)) {
            let mut chunks = same.chunks_exact(CHUNK);
            for chunk in chunks.by_ref() {
                if !is_wanted() {
                    return Err(Trouble::Slow.into());
                }
                insert(&mut many, chunk)?;
            }
            chunks.remainder().iter().try_for_each(|row| insert(&mut one, &[*row]))?;
        }
    }
    Ok(transaction.commit()?)
}

/// The values of [`SHARED`].
fn shared(row: &Row) -> [&str; SHARED.len()] {
    [&row.model, &row.version, &row.provider]
}

/// Writes as many rows as the statement has room for, which share what is shared, unless they are there.
fn insert(statement: &mut Statement<'_>, rows: &[&Row]) -> rusqlite::Result<()> {
    let mut number = 0;
    macro_rules! bind {
        ($($value:expr),+) => {$(
            number += 1;
            statement.raw_bind_parameter(number, $value)?;
        )+};
    }
    for row in rows {
        bind!(row.id.as_bytes().as_slice(), row.request_id.as_deref(), row.item, row.key_id.as_deref());
        bind!(row.trace_id.as_deref(), row.input_hash.as_bytes().as_slice(), row.prediction.as_deref());
        bind!(row.label.as_deref(), row.confidence, row.latency_us, row.cached, row.input.as_deref());
    }
    for value in rows.first().into_iter().flat_map(|row| shared(row)) {
        bind!(value);
    }
    statement.raw_execute().map(drop)
}

/// Values of rows in the order of [`COLUMNS`], numbered from 1, then those that all of them share.
fn insert_sql(rows: usize) -> String {
    let own = COLUMNS.len() - SHARED.len();
    let row = |row: usize| {
        let mut numbers = row * own + 1..;
        let value = |column: &str| match SHARED.iter().position(|shared| *shared == column) {
            Some(index) => rows * own + index + 1,
            None => numbers.next().unwrap_or_default(),
        };
        let values = COLUMNS.map(value).map(|number| format!("?{number}"));
        format!("({})", values.join(","))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    // "OR FAIL": a statement that fails ends its transaction anyway. Without, SQLite writes down how every page was, to undo
    // the one statement.
    let (columns, rows) = (COLUMNS.join(","), rows.join(","));
    format!("INSERT OR FAIL INTO predictions ({columns}) VALUES {rows} ON CONFLICT (id) DO NOTHING")
}
