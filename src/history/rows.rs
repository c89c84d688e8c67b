//! Rows that are written together.

use std::{
    ops::{Deref, Range},
    sync::Arc,
};

use super::row::Row;

/// Some rows, held by everybody who is at them: who has given up waiting for a database does not take them away from it.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    all: Arc<Vec<Row>>,
    range: Range<usize>,
}

impl From<Vec<Row>> for Rows {
    fn from(rows: Vec<Row>) -> Self {
        Self { range: 0..rows.len(), all: Arc::new(rows) }
    }
}

impl Deref for Rows {
    type Target = [Row];

    fn deref(&self) -> &[Row] {
        self.all.get(self.range.clone()).unwrap_or_default()
    }
}

impl Rows {
    /// All of them, so many at a time.
    pub(super) fn in_chunks(&self, size: usize) -> impl Iterator<Item = Self> {
        let end = self.range.end;
        let starts = self.range.clone().step_by(size.max(1));
        starts.map(move |start| self.part(start..end.min(start + size.max(1))))
    }

    /// Those behind the first `count`.
    pub(super) fn after(&self, count: usize) -> Self {
        self.part(self.range.end.min(self.range.start + count)..self.range.end)
    }

    /// Room for other rows: the same memory, unless somebody is still at these.
    pub(super) fn into_room(self) -> Vec<Row> {
        let mut room = Arc::try_unwrap(self.all).unwrap_or_default();
        room.clear();
        room
    }

    fn part(&self, range: Range<usize>) -> Self {
        Self { all: Arc::clone(&self.all), range }
    }
}
