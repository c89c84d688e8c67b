//! A finding about the spool, to be counted and told once.

use std::path::Path;

/// A finding about one segment.
#[derive(Debug)]
pub(in super::super) struct Damage {
    /// What happened.
    pub what: What,
    /// Rows that are lost, as far as they can be counted.
    pub rows: u64,
    /// Bytes that are no whole rows.
    pub bytes: u64,
    /// The file's name.
    pub segment: String,
}

/// What happened to a part of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum What {
    /// Its last write was interrupted.
    Torn,
    /// It is damaged, and kept aside.
    Kept,
    /// It is damaged, and there is no room to keep it.
    NotKept,
    /// Rows that were there are not any more: its file was deleted, cut, or is another one.
    Gone,
}

impl Damage {
    pub(super) fn new(what: What, path: &Path, rows: u64, bytes: u64) -> Self {
        let segment = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { what, rows, bytes, segment }
    }

    pub(super) const fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
    }

    /// The same for the log, and for the reasons of rows that are lost.
    pub(in super::super) const fn words(&self) -> &'static str {
        match self.what {
            What::Torn => "the last rows of the spool were not whole",
            What::Kept => "a part of the spool is damaged and is kept aside",
            What::NotKept => "a part of the spool is damaged, and there is no room to keep it aside",
            What::Gone => "rows of a part of the spool are missing",
        }
    }
}
