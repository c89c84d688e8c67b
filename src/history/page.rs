//! A part of the rows that were looked for.

use std::pin::pin;

use futures_util::{Stream, TryStreamExt};

use super::{query::Window, row::Row};

/// A page ends before it takes more than this in memory, however many rows were asked for.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A part of the rows that were looked for, in their order.
#[derive(Debug)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Whether there may be further ones.
    pub more: bool,
}

impl Page {
    /// Takes rows until there are as many as were asked for, or they take too much.
    pub(super) async fn gather(
        rows: impl Stream<Item = Result<Row, sqlx::Error>>,
        window: Window,
    ) -> Result<Self, sqlx::Error> {
        let (mut rows, mut gathered, mut bytes) = (pin!(rows), Vec::new(), 0);
        while bytes < MOST_BYTES {
            let Some(row) = rows.try_next().await? else {
                let more = gathered.len() >= window.rows;
                return Ok(Self { rows: gathered, more });
            };
            bytes += row.bytes();
            gathered.push(row);
        }
        Ok(Self { rows: gathered, more: true })
    }
}
