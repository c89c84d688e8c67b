//! What is looked for, as SQL that both databases understand.

use sqlx::{ColumnIndex, Database, Decode, Encode, QueryBuilder, Type};
use uuid::Uuid;

use super::row::{COLUMNS, Row, first_id_at};

/// Which rows are meant: those that fit all that is said.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this model.
    pub model: Option<String>,
    /// Of this version.
    pub version: Option<String>,
    /// With this label.
    pub label: Option<String>,
    /// Of the key with this id.
    pub key_id: Option<String>,
    /// Of the request with this id.
    pub request_id: Option<String>,
    /// Not part of a batch.
    pub single: bool,
    /// Part of a batch.
    pub batch: bool,
    /// From this moment on, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Before this moment.
    pub until: Option<i64>,
    /// At least as sure.
    pub min_confidence: Option<f64>,
    /// At most as sure.
    pub max_confidence: Option<f64>,
    /// Whether the prediction was known already.
    pub cached: Option<bool>,
    /// With this id.
    pub id: Option<Uuid>,
    /// Older than the row with this id: what follows on a page that ended with it.
    pub before: Option<Uuid>,
    /// Newer than the row with this id.
    pub after: Option<Uuid>,
}

/// In which order rows come, and how many.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// The most rows.
    pub rows: usize,
    /// The oldest first.
    pub oldest_first: bool,
}

/// `SELECT … FROM predictions WHERE …`
pub(super) fn select<DB: Database>(filter: Filter, window: Window) -> QueryBuilder<'static, DB>
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    Uuid: for<'q> Encode<'q, DB> + Type<DB>,
    f64: for<'q> Encode<'q, DB> + Type<DB>,
    bool: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS.join(", ")).push(" FROM predictions");
    conditions(&mut query, filter);
    query.push(if window.oldest_first { " ORDER BY id LIMIT " } else { " ORDER BY id DESC LIMIT " });
    query.push_bind(i64::try_from(window.rows).unwrap_or(i64::MAX));
    query
}

/// Deletes at most `rows` rows, the oldest first.
pub(super) fn delete<DB: Database>(filter: Filter, rows: i64) -> QueryBuilder<'static, DB>
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    Uuid: for<'q> Encode<'q, DB> + Type<DB>,
    f64: for<'q> Encode<'q, DB> + Type<DB>,
    bool: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = QueryBuilder::new("DELETE FROM predictions WHERE id IN (SELECT id FROM predictions");
    conditions(&mut query, filter);
    query.push(" ORDER BY id LIMIT ").push_bind(rows).push(")");
    query
}

fn conditions<DB: Database>(query: &mut QueryBuilder<'static, DB>, filter: Filter)
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    Uuid: for<'q> Encode<'q, DB> + Type<DB>,
    f64: for<'q> Encode<'q, DB> + Type<DB>,
    bool: for<'q> Encode<'q, DB> + Type<DB>,
{
    let Filter { model, version, label, key_id, request_id, single, batch, since, until, .. } = filter;
    let Filter { min_confidence, max_confidence, cached, id, before, after, .. } = filter;
    let mut all = query.separated(" AND ");
    // True, so that what follows can begin with AND.
    all.push_unseparated(" WHERE ").push("1 = 1");
    macro_rules! each {
        ($($condition:literal $value:expr,)*) => {
            $(if let Some(value) = $value {
                all.push($condition).push_bind_unseparated(value);
            })*
        };
    }
    each! {
        "model = " model,
        "version = " version,
        "label = " label,
        "key_id = " key_id,
        "request_id = " request_id,
        "confidence >= " min_confidence,
        "confidence <= " max_confidence,
        "cached = " cached,
        "id = " id,
        "id < " before,
        "id > " after,
        "id >= " since.map(first_id_at),
        "id < " until.map(first_id_at),
    }
    if single {
        all.push("item IS NULL");
    }
    if batch {
        all.push("item IS NOT NULL");
    }
}

/// Reads what [`select`] asks for.
pub(super) fn read<'r, R: sqlx::Row>(row: &'r R) -> Result<Row, sqlx::Error>
where
    usize: ColumnIndex<R>,
    Uuid: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    i32: Decode<'r, R::Database> + Type<R::Database>,
    f64: Decode<'r, R::Database> + Type<R::Database>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
    Option<i32>: Decode<'r, R::Database> + Type<R::Database>,
    Option<f64>: Decode<'r, R::Database> + Type<R::Database>,
{
    let text = |index: usize| row.try_get::<String, _>(index).map(Into::into);
    let optional = |index: usize| row.try_get::<Option<String>, _>(index);
    Ok(Row {
        id: row.try_get(0)?,
        request_id: optional(1)?.map(Into::into),
        item: row.try_get(2)?,
        key_id: optional(3)?.map(Into::into),
        trace_id: optional(4)?.map(Into::into),
        model: text(5)?,
        version: text(6)?,
        provider: row.try_get::<String, _>(7)?.into(),
        input_hash: row.try_get(8)?,
        prediction: optional(9)?,
        label: optional(10)?,
        confidence: row.try_get(11)?,
        latency_us: row.try_get(12)?,
        cached: row.try_get(13)?,
        input: optional(14)?,
    })
}
