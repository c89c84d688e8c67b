//! Requests of one payer at the same time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::payer::Payer;

/// Counts them. Who has none takes no memory, so it is bounded by the requests that the server takes at all.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<HashMap<Payer, usize>>);

impl InFlight {
    /// One more, unless there are `limit` already. The limit may be another one every time. Who was let in must
    /// [`leave`](Self::leave).
    pub(super) fn enter(&self, payer: &Payer, limit: usize) -> bool {
        let mut counts = self.counts();
        let Some(count) = counts.get_mut(payer) else {
            counts.insert(payer.clone(), 1);
            return true;
        };
        let free = *count < limit.max(1);
        *count += usize::from(free);
        free
    }

    /// One less.
    pub(super) fn leave(&self, payer: &Payer) {
        let mut counts = self.counts();
        if let Some(count) = counts.get_mut(payer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(payer);
            }
        }
    }

    /// Gives memory back.
    pub(super) fn sweep(&self) {
        self.counts().shrink_to_fit();
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Payer, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payer_has_no_more_requests_than_its_limit_and_leaves_nothing_behind() {
        let in_flight = InFlight::default();
        let (one, other) = (Payer::Key("one".into()), Payer::Key("other".into()));
        assert!(in_flight.enter(&one, 2));
        assert!(in_flight.enter(&one, 2));
        assert!(!in_flight.enter(&one, 2));
        assert!(in_flight.enter(&other, 2));
        // A plan that grows counts at once, and so does one that shrinks.
        assert!(in_flight.enter(&one, 3));
        in_flight.leave(&one);
        assert!(!in_flight.enter(&one, 1));
        assert!(in_flight.enter(&one, 3));
        for payer in [&one, &one, &one, &other] {
            in_flight.leave(payer);
        }
        assert!(in_flight.counts().is_empty());
    }
}
