//! Requests of one payer at the same time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::payer::Payer;

/// Counts them. Who has none takes no memory, so it is bounded by the requests that the server takes at all.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<HashMap<Payer, usize>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(in crate::api) struct Permit {
    in_flight: InFlight,
    payer: Payer,
}

impl InFlight {
    /// One more, unless there are `limit` already. The limit may be another one every time.
    pub(super) fn enter(&self, payer: &Payer, limit: usize) -> Option<Permit> {
        let mut counts = self.counts();
        let count = counts.entry(payer.clone()).or_default();
        if *count >= limit.max(1) {
            return None;
        }
        *count += 1;
        Some(Permit { in_flight: self.clone(), payer: payer.clone() })
    }

    /// Gives memory back.
    pub(super) fn sweep(&self) {
        self.counts().shrink_to_fit();
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Payer, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.in_flight.counts();
        if let Some(count) = counts.get_mut(&self.payer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.payer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payer_has_no_more_requests_than_its_limit_and_leaves_nothing_behind() {
        let in_flight = InFlight::default();
        let (one, other) = (Payer::Key("one".into()), Payer::Key("other".into()));
        let first = in_flight.enter(&one, 2).unwrap();
        let second = in_flight.enter(&one, 2).unwrap();
        assert!(in_flight.enter(&one, 2).is_none());
        let elsewhere = in_flight.enter(&other, 2).unwrap();
        // A plan that grows counts at once, and so does one that shrinks.
        let third = in_flight.enter(&one, 3).unwrap();
        drop(first);
        assert!(in_flight.enter(&one, 1).is_none());
        assert!(in_flight.enter(&one, 3).is_some());
        drop((second, third, elsewhere));
        assert!(in_flight.counts().is_empty());
    }
}
