//! What a caller allows the cache to do for one request.

use std::time::Duration;

/// What a caller allows. By default, everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// Compute anew and keep that. Such a request neither looks nor follows: what others began is older than it.
    pub no_cache: bool,
    /// Compute anew and keep nothing.
    pub no_store: bool,
    /// Take no answer that is older.
    pub max_age: Option<Duration>,
    /// Compute nothing.
    pub only_if_cached: bool,
}

impl Policy {
    /// Whether a known answer will do. Who wants nothing kept, and nothing computed either, can only want a look.
    pub fn looks_up(&self) -> bool {
        let nothing_would_be_kept = !self.no_store || self.only_if_cached;
        !self.no_cache && nothing_would_be_kept && self.max_age != Some(Duration::ZERO)
    }

    /// The greatest age of an answer that will do.
    pub fn max_age(&self) -> Duration {
        self.max_age.unwrap_or(Duration::MAX)
    }
}
