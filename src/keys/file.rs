//! Reads a keys file from the disk, within a bound.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use super::{KeySet, KeysError, Plan, parse::parse};

/// Four times what the most keys take.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// Reads and checks the keys file at `path`; `default` is the plan of keys that name none.
///
/// # Errors
/// Why it cannot be read, or everything that is wrong with it.
pub fn read(path: &Path, default: &Plan) -> Result<KeySet, KeysError> {
    let text = text(path).map_err(|cause| KeysError::Unreadable { path: path.to_owned(), cause })?;
    parse(&text, default).map_err(|faults| KeysError::Faulty { path: path.to_owned(), faults })
}

/// The file's text.
pub(super) fn text(path: &Path) -> io::Result<String> {
    let other = |message: &str| Err(io::Error::other(message));
    // Opening a pipe would wait for somebody to write into it.
    if !fs::metadata(path)?.is_file() {
        return other("it is not a regular file");
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return other("it is larger than 16MiB");
    }
    String::from_utf8(bytes).or_else(|_| other("it is not valid UTF-8"))
}
