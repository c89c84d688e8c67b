//! What becomes of the rows of the history.

use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge};

use super::{
    family::{Families, each},
    spread::SpreadVec,
};
use crate::telemetry::labels::{HistoryRows, Label};

/// What becomes of the rows of the history.
#[derive(Debug)]
pub struct HistoryMetrics {
    rows: SpreadVec<IntCounterVec>,
    pending: IntGauge,
    spool_bytes: IntGauge,
    oldest: IntGauge,
    away: IntGauge,
    losing: IntGauge,
    damaged: IntGauge,
}

impl HistoryMetrics {
    pub(super) fn new(families: Families<'_>) -> anyhow::Result<Self> {
        let new = Self {
            rows: families.counters(
                "history_rows_total",
                "Rows of the history, by what became of them.",
                &["result"],
            )?,
            pending: families.gauge("history_pending_rows", "Rows that wait in memory and in the spool.")?,
            spool_bytes: families.gauge("history_spool_bytes", "What the spool takes on the disk.")?,
            oldest: families.gauge("history_oldest_pending_seconds", "Age of the oldest row in the spool.")?,
            away: families.gauge("history_database_away", "1 while the database does not take rows.")?,
            losing: families.gauge("history_losing_rows", "1 while rows are lost, and for a minute after the last one.")?,
            damaged: families.gauge(
                "history_spool_damaged_files",
                "Files of the spool that are damaged and kept aside until an operator deletes or moves them, or that cannot be read.",
            )?,
        };
        each::<HistoryRows>(|result| drop(new.rows.with_label_values(&[result])));
        Ok(new)
    }

    /// This became of so many rows.
    pub fn rows(&self, result: HistoryRows, rows: usize) {
        if rows > 0 {
            self.rows.here(&[result.as_str()]).inc_by(rows as u64);
        }
    }

    /// What waits: rows in all, the bytes of the spool, and the age of its oldest row.
    pub fn pending(&self, rows: u64, spool_bytes: u64, oldest: Duration) {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.pending.set(signed(rows));
        self.spool_bytes.set(signed(spool_bytes));
        self.oldest.set(signed(oldest.as_secs()));
    }

    /// Whether the database does not take rows.
    pub fn database_away(&self, away: bool) {
        self.away.set(away.into());
    }

    /// Whether rows are lost, or were a moment ago.
    pub fn losing_rows(&self, losing: bool) {
        self.losing.set(losing.into());
    }

    /// Files of the spool that an operator is to look at.
    pub fn damaged(&self, files: usize) {
        self.damaged.set(i64::try_from(files).unwrap_or(i64::MAX));
    }
}
