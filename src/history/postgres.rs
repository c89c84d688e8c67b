//! PostgreSQL: a few connections, none of which is kept after something went wrong on it.

use std::{
    borrow::Cow,
    str::FromStr,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use sqlx::{
    ConnectOptions, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

use super::{
    migrations,
    page::Page,
    query::{self, Filter, Window},
    row::{COLUMNS, Row},
    trouble::NotWritten,
};
use crate::config::HistoryConfig;

/// One writes, one deletes what is old, the others read.
const CONNECTIONS: u32 = 5;

/// A database with a table of rows.
#[derive(Debug)]
pub(super) struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When the URL is none. The reason can hold a part of it, and so is not told.
    pub(super) fn new(config: &HistoryConfig) -> anyhow::Result<Self> {
        let broken = || anyhow::anyhow!("history.postgres_url is not a URL that PostgreSQL can be reached by");
        let options = PgConnectOptions::from_str(&config.postgres_url).map_err(|_| broken())?;
        let millis = |time: Duration| time.as_millis().to_string();
        let options = options
            .application_name("glassbox")
            // The server gives up what nobody waits for any more, and its locks with it.
            .options([
                ("statement_timeout", millis(config.statement_timeout)),
                ("lock_timeout", millis(config.statement_timeout)),
                ("idle_in_transaction_session_timeout", millis(config.statement_timeout * 2)),
            ])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(config.connect_timeout)
            // An answer that does not come is noticed by the statement itself; asking first doubles the way.
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// Makes the tables. Several servers may do so at once: one does, the others wait for it.
    pub(super) async fn migrate(&self) -> Result<(), sqlx::Error> {
        let migrator = migrations::POSTGRES.migrator().await?;
        // Not given back: should it fail, its lock goes with it.
        let mut connection = self.pool.acquire().await?.detach();
        migrator.run_direct(&mut connection).await.map_err(migrations::failed)
    }

    /// A connection to write with.
    pub(super) async fn writer(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        self.pool.acquire().await
    }

    /// A connection to read with. The server itself ends what takes it too long.
    pub(super) async fn reader(&self, _deadline: Instant) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        self.pool.acquire().await
    }

    /// Writes all rows that are not there yet, or none.
    pub(super) async fn insert(connection: &mut PoolConnection<Postgres>, rows: &[Row]) -> Result<(), NotWritten> {
        macro_rules! column {
            ($row:ident => $value:expr) => {
                rows.iter().map(|$row| $value).collect::<Vec<_>>()
            };
        }
        // One statement for any number of rows, which is read and planned once.
        let sql = insert_sql();
        let query = sqlx::query(&sql)
            .bind(column!(row => row.id))
            .bind(column!(row => row.request_id.as_deref().map(clean)))
            .bind(column!(row => row.item))
            .bind(column!(row => row.key_id.as_deref().map(clean)))
            .bind(column!(row => row.trace_id.as_deref().map(clean)))
            .bind(column!(row => clean(&row.model)))
            .bind(column!(row => clean(&row.version)))
            .bind(column!(row => clean(&row.provider)))
            .bind(column!(row => row.input_hash))
            .bind(column!(row => row.prediction.as_deref().map(clean)))
            .bind(column!(row => row.label.as_deref().map(clean)))
            .bind(column!(row => row.confidence))
            .bind(column!(row => row.latency_us))
            .bind(column!(row => row.cached))
            .bind(column!(row => row.input.as_deref().map(clean)));
        query.execute(&mut **connection).await?;
        Ok(())
    }

    /// One page.
    pub(super) async fn page(
        connection: &mut PoolConnection<Postgres>,
        filter: Filter,
        window: Window,
    ) -> Result<Page, sqlx::Error> {
        let mut query = query::select::<Postgres>(filter, window);
        let rows = query.build().fetch(&mut **connection);
        Page::gather(rows.map(|row| query::read(&row?)), window).await
    }

    /// How many rows there are.
    pub(super) async fn count(connection: &mut PoolConnection<Postgres>) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("SELECT count(*) FROM predictions").fetch_one(&mut **connection).await
    }

    /// The id of the row before which so many older ones stand.
    pub(super) async fn id_after(
        connection: &mut PoolConnection<Postgres>,
        older: i64,
    ) -> Result<Option<Uuid>, sqlx::Error> {
        let query = sqlx::query_scalar("SELECT id FROM predictions ORDER BY id LIMIT 1 OFFSET $1");
        query.bind(older).fetch_optional(&mut **connection).await
    }

    /// Deletes at most `rows` rows that fit.
    pub(super) async fn delete(
        connection: &mut PoolConnection<Postgres>,
        filter: Filter,
        rows: i64,
    ) -> Result<u64, sqlx::Error> {
        let deleted = query::delete::<Postgres>(filter, rows).build().execute(&mut **connection).await?;
        Ok(deleted.rows_affected())
    }

    /// Ends.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// The types of [`COLUMNS`].
const TYPES: [&str; COLUMNS.len()] = [
    "uuid", "text", "int4", "text", "text", "text", "text", "text", "uuid", "text", "text", "float8", "int8", "bool",
    "text",
];

/// One array per column.
fn insert_sql() -> String {
    let columns = COLUMNS.join(", ");
    let arrays: Vec<String> = (1..).zip(TYPES).map(|(number, kind)| format!("${number}::{kind}[]")).collect();
    let arrays = arrays.join(", ");
    format!("INSERT INTO predictions ({columns}) SELECT * FROM unnest({arrays}) ON CONFLICT (id) DO NOTHING")
}

/// PostgreSQL's texts hold every character but one.
fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}
