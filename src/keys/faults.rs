//! What can be wrong with a keys file, told by line and key id. No fault quotes a value: it may be a secret or its hash.

use std::{fmt, io, path::PathBuf};

/// Faults that are told of one file.
const MOST_FAULTS: usize = 32;

/// Why a keys file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It is not there, or may not be read.
    #[error("the keys file {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It says something that it must not.
    #[error("the keys file {} has {}", path.display(), list(faults))]
    Faulty {
        /// The file.
        path: PathBuf,
        /// All faults, in their order, up to 32.
        faults: Vec<Fault>,
    },
    /// A running server would turn everybody away, who were let in before.
    #[error(
        "the keys file {} has no key that can be used; where nobody is to be let in, it says 'keys = []'",
        path.display()
    )]
    LocksOut {
        /// The file.
        path: PathBuf,
    },
    /// Nobody could call a server that everybody can reach.
    #[error(
        "the keys file {} has no key that can be used: make one with 'glassbox keys create', or listen on loopback",
        path.display()
    )]
    NoUsableKey {
        /// The file.
        path: PathBuf,
    },
}

/// One thing that is wrong with a keys file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, counted from 1.
    pub line: usize,
    /// Of which key, where that is known.
    pub key: Option<String>,
    /// What.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(key) = &self.key {
            write!(f, ", key {key}")?;
        }
        write!(f, ": {}", self.message)
    }
}

fn list(faults: &[Fault]) -> String {
    let count = match faults.len() {
        1 => "1 problem".to_owned(),
        MOST_FAULTS => format!("at least {MOST_FAULTS} problems"),
        count => format!("{count} problems"),
    };
    faults.iter().fold(count, |text, fault| format!("{text}\n  {fault}"))
}

/// Collects the faults of one text.
pub(super) struct Faults<'a> {
    text: &'a str,
    found: Vec<Fault>,
}

impl<'a> Faults<'a> {
    pub(super) const fn of(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Something is wrong `at` so many bytes.
    pub(super) fn note(&mut self, at: usize, key: Option<&str>, message: impl Into<String>) {
        if self.found.len() < MOST_FAULTS {
            let line = self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
            self.found.push(Fault { line, key: key.map(str::to_owned), message: message.into() });
        }
    }

    /// All of them in the order of the text; `Ok` when there is none.
    pub(super) fn result(mut self) -> Result<(), Vec<Fault>> {
        self.found.sort_by_key(|fault| fault.line);
        if self.found.is_empty() { Ok(()) } else { Err(self.found) }
    }
}
