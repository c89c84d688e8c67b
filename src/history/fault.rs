//! What is out of order, in words for probes.

use super::{spool::Aside, trouble::Trouble};

/// Something that is out of order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What it is, as a stable word.
    pub state: &'static str,
    /// The same for people.
    pub reason: String,
}

impl Fault {
    /// The database does not take rows.
    pub(super) fn away(trouble: Trouble) -> Self {
        Self { state: "lost", reason: trouble.to_string() }
    }

    /// Rows are lost, or were within the last minute.
    pub(super) fn losing(reason: &str) -> Self {
        Self { state: "losing_rows", reason: format!("rows were lost within the last minute: {reason}") }
    }

    /// The database's file is another one.
    pub(super) fn replaced() -> Self {
        let reason =
            "the database's file was deleted or replaced within the last minute: what was stored before is not in it";
        Self { state: "replaced", reason: reason.to_owned() }
    }

    /// The disk does not give a part of the spool.
    pub(super) fn unreadable(segments: usize) -> Self {
        let reason = format!("parts of the spool cannot be read at the moment and are tried again (files: {segments})");
        Self { state: "unreadable", reason }
    }

    /// Damage waits for the operator.
    pub(super) fn damaged(aside: &Aside, has_names: bool) -> Self {
        let Aside { files, bytes, names } = aside;
        let mut reason = format!("damaged parts of the spool are kept aside (files: {files}, bytes: {bytes})");
        if has_names {
            let more = if *files > names.len() { ", ..." } else { "" };
            reason += &format!(" in history.spool_path: {}{more}", names.join(", "));
        }
        Self { state: "damaged", reason: reason + "; delete or move them when they were looked at" }
    }
}
