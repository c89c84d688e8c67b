//! A record of the spool: a length, a checksum of length and content, and a row as JSON.
//!
//! The content of every record begins with [`BEGINNING`]. JSON escapes quotes inside of texts, so these bytes occur nowhere
//! else in a record, and the records behind a damaged one are found again by them.

use super::super::row::Row;

/// Length and checksum.
pub(super) const HEAD: usize = 8;

/// The first bytes of a row's JSON: its first member is its id.
pub(super) const BEGINNING: &[u8] = br#"{"id":""#;

/// A row that is longer than this is not written (see `history.value_limit`), and a greater length is damage.
pub(super) const MAX_LENGTH: usize = 256 * 1024 * 1024;

/// Appends the records of the first rows to `bytes`, until these are `enough` or the next row does not fit into `room`, and
/// returns how many rows these are.
pub(super) fn encode(rows: &[Row], bytes: &mut Vec<u8>, enough: usize, room: usize) -> usize {
    for (count, row) in rows.iter().enumerate() {
        let start = bytes.len();
        if start >= enough {
            return count;
        }
        bytes.extend_from_slice(&[0; HEAD]);
        let written = serde_json::to_writer(&mut *bytes, row).is_ok();
        let length = bytes.len() - start - HEAD;
        if !written || bytes.len() > room || length > MAX_LENGTH {
            bytes.truncate(start);
            return count;
        }
        let head = head(&bytes[start + HEAD..]);
        bytes[start..start + HEAD].copy_from_slice(&head);
    }
    rows.len()
}

/// The head of a record with this content.
pub(super) fn head(content: &[u8]) -> [u8; HEAD] {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut hasher = crc32fast::Hasher::new();
    // Of the length too. Inverted: zeros, which a crash can leave, are no record.
    hasher.update(&length);
    hasher.update(content);
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&length);
    head[4..].copy_from_slice(&(!hasher.finalize()).to_le_bytes());
    head
}
