//! `[history]`: where predictions are kept to be looked up.

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::{
    rules::{at_least_1_kib, at_least_1_mib, postgres_url, within_a_minute},
    values,
};

/// `[history]`
#[derive(Debug, Clone, Deserialize, Serialize, Validate)]
pub struct HistoryConfig {
    /// Which database keeps them.
    #[serde(deserialize_with = "values::history_mode")]
    pub mode: HistoryMode,
    /// SQLite's file.
    pub sqlite_path: PathBuf,
    /// `postgres://[user:password@]host[:port]/database`
    #[serde(with = "values::secret_url")]
    #[validate(custom(function = "postgres_url"))]
    pub postgres_url: String,
    /// Whether what callers sent is kept too.
    pub store_inputs: bool,
    /// The longest JSON of a prediction or an input that is kept, in bytes.
    #[serde(with = "values::size")]
    #[validate(custom(function = "at_least_1_kib"))]
    pub value_limit: ByteSize,
    /// Whether tables are made and changed at the start.
    pub migrate: bool,
    /// Within which time rows are where a crash of the process does not reach them.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_minute"))]
    pub flush_interval: Duration,
    /// Rows that may wait in memory.
    #[validate(range(min = 1, max = 1_000_000))]
    pub queue_capacity: usize,
    /// Rows that are written at once.
    #[validate(range(min = 1, max = 10_000))]
    pub batch_size: usize,
    /// For a connection to PostgreSQL to be made.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_minute"))]
    pub connect_timeout: Duration,
    /// For a write, or a page of rows, to be done.
    #[serde(with = "values::duration")]
    #[validate(custom(function = "within_a_minute"))]
    pub statement_timeout: Duration,
    /// Folder for rows that the database does not take at the moment.
    pub spool_path: PathBuf,
    /// What these may take, in bytes.
    #[serde(with = "values::size")]
    #[validate(custom(function = "at_least_1_mib"))]
    pub spool_limit: ByteSize,
    /// The age at which rows are deleted.
    #[serde(with = "values::optional_duration")]
    pub retain_for: Option<Duration>,
    /// The most rows that are kept; 0 for any number.
    pub retain_rows: u64,
}

/// Which database keeps predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryMode {
    /// None.
    Off,
    /// A file of this machine.
    Sqlite,
    /// A server that several servers share.
    Postgres,
}
