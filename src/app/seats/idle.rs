//! Finds the connection that has been idle for longest, without work at every request.
//!
//! Requests leave no mark but on their own connection, so a search looks at all. It keeps the connections that were idle for
//! longest: whatever becomes idle later has been so for less time, so their order holds until they are used up.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::occupant::{Occupant, Standing};

/// What has been idle for less may have its next request on the way.
const MIN_IDLE: Duration = Duration::from_millis(100);

/// Idle connections that one search keeps.
const KEPT: usize = 64;

/// Of the time of the thread that accepts, searches take at most one in so many parts.
const SHARE: u32 = 10;

/// The longest idle of some connections.
#[derive(Debug, Default)]
pub(super) struct Idle {
    found: VecDeque<(Instant, Arc<Occupant>)>,
    /// When the next search may be.
    again: Option<Instant>,
}

impl Idle {
    /// The one that has been idle for longest of `occupants`, if there is one that is worth ending.
    pub(super) fn longest<'a>(&mut self, occupants: impl Iterator<Item = &'a Arc<Occupant>>) -> Option<Arc<Occupant>> {
        self.next_found().or_else(|| {
            self.search(occupants);
            self.next_found()
        })
    }

    fn next_found(&mut self) -> Option<Arc<Occupant>> {
        while let Some((since, occupant)) = self.found.pop_front() {
            if occupant.standing() == Standing::Seated && occupant.activity().idle_since() == Some(since) {
                return Some(occupant);
            }
        }
        None
    }

    fn search<'a>(&mut self, occupants: impl Iterator<Item = &'a Arc<Occupant>>) {
        let began = Instant::now();
        if self.again.is_some_and(|again| began < again) {
            return;
        }
        let idle = |occupant: &'a Arc<Occupant>| {
            let since = occupant.activity().idle_since()?;
            (began.saturating_duration_since(since) >= MIN_IDLE).then_some((since, occupant))
        };
        let mut found: Vec<_> = occupants.filter_map(idle).collect();
        if found.len() > KEPT {
            found.select_nth_unstable_by_key(KEPT, |(since, _)| *since);
            found.truncate(KEPT);
        }
        found.sort_by_key(|(since, _)| *since);
        self.found = found.into_iter().map(|(since, occupant)| (since, Arc::clone(occupant))).collect();
        self.again = Some(Instant::now() + began.elapsed() * (SHARE - 1));
    }
}
