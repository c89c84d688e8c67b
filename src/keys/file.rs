//! Reads a keys file from the disk, within a bound, and tells how it ends.

use std::{
    hash::{DefaultHasher, Hasher},
    io,
    path::Path,
};

use super::{KeySet, KeysError, Plan, parse::parse};
use crate::files::{self, MIB};

/// Four times what the most keys take.
const MAX_FILE: u64 = 16 * MIB;

/// The last line of a file that `glassbox keys` made. A copy of it that was written half way lacks it.
pub(super) const END: &str = "# End of the keys file. Leave this line the last one.";

/// What shows whether all of a file is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The end mark is the last line: nothing is missing.
    Marked,
    /// The end mark is there, and something was added behind it.
    Passed,
    /// A whole line, and no end mark.
    Line,
    /// In the middle of a line.
    Cut,
}

impl Ending {
    fn of(text: &str) -> Self {
        match () {
            () if text.trim_end().lines().next_back() == Some(END) => Self::Marked,
            () if !text.ends_with('\n') => Self::Cut,
            () if text.lines().any(|line| line == END) => Self::Passed,
            () => Self::Line,
        }
    }
}

/// Reads and checks the keys file at `path`; `default` is the plan of keys that name none.
///
/// # Errors
/// Why it cannot be read, or everything that is wrong with it.
pub fn read(path: &Path, default: &Plan) -> Result<KeySet, KeysError> {
    content(path, default).map(|content| content.set)
}

/// What was read from a keys file.
pub(super) struct Content {
    pub set: KeySet,
    pub ending: Ending,
    /// Tells one text from another.
    pub hash: u64,
}

/// The same with what tells whether it is complete.
pub(super) fn content(path: &Path, default: &Plan) -> Result<Content, KeysError> {
    let text = text(path).map_err(|cause| KeysError::Unreadable { path: path.to_owned(), cause })?;
    let set = parse(&text, default).map_err(|faults| KeysError::Faulty { path: path.to_owned(), faults })?;
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    Ok(Content { set, ending: Ending::of(&text), hash: hasher.finish() })
}

/// The file's text.
pub(super) fn text(path: &Path) -> io::Result<String> {
    files::read_to_string(path, MAX_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_recognised() {
        let marked = format!("a = 1\n\n{END}\n");
        for (text, expected) in [
            (&*marked, Ending::Marked),
            (marked.trim_end(), Ending::Marked),
            (&marked[..marked.len() - 2], Ending::Cut),
            (&format!("{marked}b = 1\n"), Ending::Passed),
            (&format!("{marked}b = 1"), Ending::Cut),
            ("a = 1\n", Ending::Line),
            ("a = 1", Ending::Cut),
        ] {
            assert_eq!(Ending::of(text), expected, "{text}");
        }
    }
}
