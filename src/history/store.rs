//! The database, whichever it is. Nothing here waits longer than the configuration says, whatever the database does.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use uuid::Uuid;

use super::{
    page::Page,
    postgres::PostgresStore,
    query::{Filter, Window},
    rows::Rows,
    sqlite::SqliteStore,
    trouble::{NotWritten, Trouble},
};
use crate::config::{HistoryConfig, HistoryMode};

/// Rows of one delete: so few that nobody behind it waits long.
const DELETED_AT_ONCE: i64 = 1000;

/// For the tables to be made and changed; far longer than it takes, unless another server is at it.
const MIGRATION: Duration = Duration::from_secs(60);

/// A database with a table of rows.
#[derive(Debug)]
pub struct Store {
    kind: Kind,
    connect_timeout: Duration,
    statement_timeout: Duration,
}

#[derive(Debug)]
enum Kind {
    Sqlite(Box<SqliteStore>),
    Postgres(PostgresStore),
}

/// Does one thing on a connection, and gives that back only if it went well: what was left in the middle of a statement is
/// of no use to the next one.
macro_rules! on_either {
    ($self:ident, $acquire:ident($($argument:expr)?), |$database:ident, $name:ident| $work:expr) => {
        match &$self.kind {
            Kind::Sqlite(store) => on_either!(@ $self, store.$acquire($($argument)?), $database = SqliteStore, $name, $work),
            Kind::Postgres(store) => {
                on_either!(@ $self, store.$acquire($($argument)?), $database = PostgresStore, $name, $work)
            }
        }
    };
    (@ $self:ident, $acquire:expr, $database:ident = $store:ty, $name:ident, $work:expr) => {{
        type $database = $store;
        let mut connection = within($self.connect_timeout, Trouble::Unreachable, $acquire).await?;
        let $name = &mut connection;
        match timeout($self.statement_timeout, $work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                let error = NotWritten::from(error);
                if error != NotWritten::Rejected {
                    drop(connection.detach());
                }
                Err(error.into())
            }
            Err(_elapsed) => {
                drop(connection.detach());
                Err(Trouble::Slow.into())
            }
        }
    }};
}

impl Store {
    /// The configured database, to which nothing is connected yet; none when it is off.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn new(config: &HistoryConfig) -> anyhow::Result<Option<Self>> {
        let kind = match config.mode {
            HistoryMode::Off => return Ok(None),
            HistoryMode::Sqlite => Kind::Sqlite(Box::new(SqliteStore::new(config))),
            HistoryMode::Postgres => Kind::Postgres(PostgresStore::new(config)?),
        };
        let HistoryConfig { connect_timeout, statement_timeout, .. } = *config;
        Ok(Some(Self { kind, connect_timeout, statement_timeout }))
    }

    /// Makes the tables, and what is new of them.
    ///
    /// # Errors
    /// When the database does not do it.
    pub async fn migrate(&self) -> Result<(), Trouble> {
        match &self.kind {
            Kind::Sqlite(store) => within(MIGRATION, Trouble::Slow, store.migrate()).await,
            Kind::Postgres(store) => within(MIGRATION, Trouble::Slow, store.migrate()).await,
        }
    }

    /// One page of the rows that fit.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn page(&self, filter: Filter, window: Window) -> Result<Page, Trouble> {
        let deadline = Instant::now() + self.statement_timeout;
        on_either!(self, reader(deadline), |Database, connection| Database::page(connection, filter, window))
    }

    /// Deletes some of the rows that fit; none when there are no more.
    ///
    /// # Errors
    /// When the database does not do it.
    pub async fn delete_some(&self, filter: Filter) -> Result<u64, Trouble> {
        on_either!(self, writer(), |Database, connection| Database::delete(connection, filter, DELETED_AT_ONCE))
    }

    /// Whether another file has come in the place of the database's since this was asked the last time.
    pub(super) async fn is_replaced(&self) -> bool {
        match &self.kind {
            Kind::Sqlite(store) => timeout(self.statement_timeout, store.is_replaced()).await.unwrap_or(false),
            Kind::Postgres(_) => false,
        }
    }

    /// Whether that happened within the last minute.
    pub(super) fn was_replaced(&self) -> bool {
        match &self.kind {
            Kind::Sqlite(store) => store.was_replaced(),
            Kind::Postgres(_) => false,
        }
    }

    /// Ends all connections.
    pub async fn close(&self) {
        let close = async {
            match &self.kind {
                Kind::Sqlite(store) => store.close().await,
                Kind::Postgres(store) => store.close().await,
            }
        };
        let _ = timeout(self.statement_timeout, close).await;
    }

    /// Writes all rows that are not there yet, or none. Who gives it up may find them written nevertheless.
    pub(super) async fn insert(&self, rows: &Rows) -> Result<(), NotWritten> {
        match &self.kind {
            Kind::Sqlite(store) => {
                let written = timeout(self.statement_timeout, store.insert(rows.clone())).await;
                written.unwrap_or(Err(NotWritten::Away(Trouble::Slow)))
            }
            Kind::Postgres(store) => {
                on_either!(@ self, store.writer(), Database = PostgresStore, connection, Database::insert(connection, rows))
            }
        }
    }

    /// Writes nothing, where something could be written.
    pub(super) async fn probe(&self) -> Result<(), Trouble> {
        Ok(self.insert(&Rows::from(Vec::new())).await?)
    }

    /// How many rows there are.
    pub(super) async fn count(&self) -> Result<i64, Trouble> {
        let deadline = Instant::now() + self.statement_timeout;
        on_either!(self, reader(deadline), |Database, connection| Database::count(connection))
    }

    /// The id of the row before which so many older ones stand.
    pub(super) async fn id_after(&self, older: i64) -> Result<Option<Uuid>, Trouble> {
        let deadline = Instant::now() + self.statement_timeout;
        on_either!(self, reader(deadline), |Database, connection| Database::id_after(connection, older))
    }
}

/// The end of `work`, or `late` when that does not come in time.
async fn within<T>(
    limit: Duration,
    late: Trouble,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Trouble> {
    timeout(limit, work).await.map_or(Err(late), |done| done.map_err(Trouble::from))
}
