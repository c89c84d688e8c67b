//! Why a database did not do what it was asked, in words for probes and logs. Its own words stay out of them: they can
//! quote a row.

use std::fmt;

/// Why the database is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody listens there, the connection was lost, or the file cannot be opened.
    Unreachable,
    /// It does not answer in time.
    Slow,
    /// It does not know this user and password, or does not let them do this.
    Denied,
    /// It takes no more data.
    Full,
    /// It takes no data at all.
    ReadOnly,
    /// Another process holds it.
    Locked,
    /// The tables are not there.
    NotMigrated,
    /// Its file was deleted, or another one has taken its place.
    Replaced,
    /// Rows that it does not have yet lie in a part of the spool that cannot be read.
    SpoolUnreadable,
    /// It answers with some other error.
    Failing,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the database cannot be reached",
            Self::Slow => "the database does not answer in time",
            Self::Denied => "the database refuses the user or the password",
            Self::Full => "the database is full",
            Self::ReadOnly => "the database is read-only",
            Self::Locked => "the database is locked by another process",
            Self::NotMigrated => "the database has no tables yet: run 'glassbox migrate'",
            Self::Replaced => "the database's file was deleted or replaced",
            Self::SpoolUnreadable => "a part of the spool cannot be read at the moment",
            Self::Failing => "the database answers with errors",
        })
    }
}

impl std::error::Error for Trouble {}

/// Why rows were not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotWritten {
    /// None of them was, and later all can be.
    Away(Trouble),
    /// One of them never can be.
    Rejected,
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => match error.code().as_deref() {
                // PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html
                Some("25006") => Self::ReadOnly,
                Some("42P01") => Self::NotMigrated,
                Some("57014") => Self::Slow,
                Some(code) if code.len() == 5 => match &code[..2] {
                    "08" | "57" => Self::Unreachable,
                    "28" | "42" | "3D" => Self::Denied,
                    "53" => Self::Full,
                    "55" | "40" => Self::Locked,
                    _ => Self::Failing,
                },
                Some(code) => of_sqlite(code.parse().unwrap_or_default(), error.message()),
                None => Self::Failing,
            },
            // The pool tries again and again to connect, and tells only that its time is over.
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::WorkerCrashed => Self::Unreachable,
            _ => Self::Failing,
        }
    }
}

impl From<NotWritten> for Trouble {
    fn from(not_written: NotWritten) -> Self {
        match not_written {
            NotWritten::Away(trouble) => trouble,
            NotWritten::Rejected => Self::Failing,
        }
    }
}

impl From<Trouble> for NotWritten {
    fn from(trouble: Trouble) -> Self {
        Self::Away(trouble)
    }
}

impl From<sqlx::Error> for NotWritten {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
        // What a value is to blame for: data exceptions, broken constraints, limits of a program.
        let of_a_value = match code.len() {
            5 => ["22", "23", "54"].contains(&&code[..2]),
            _ => code.parse().is_ok_and(is_of_a_value),
        };
        if of_a_value { Self::Rejected } else { Self::Away(error.into()) }
    }
}

impl From<rusqlite::Error> for NotWritten {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(code, message) = error else { return Self::Away(Trouble::Failing) };
        let code = code.extended_code;
        if is_of_a_value(code) { Self::Rejected } else { Self::Away(of_sqlite(code, &message.unwrap_or_default())) }
    }
}

/// What SQLite's error says. Its extended codes hold the plain one in their last byte: <https://sqlite.org/rescode.html>.
fn of_sqlite(code: i32, message: &str) -> Trouble {
    match code & 0xff {
        1 if message.starts_with("no such table") => Trouble::NotMigrated,
        5 | 6 => Trouble::Locked,
        8 => Trouble::ReadOnly,
        13 => Trouble::Full,
        14 => Trouble::Unreachable,
        _ => Trouble::Failing,
    }
}

/// `SQLITE_TOOBIG`, `SQLITE_CONSTRAINT` and `SQLITE_MISMATCH`.
const fn is_of_a_value(code: i32) -> bool {
    matches!(code & 0xff, 18..=20)
}
