//! All sessions of one model: each inference thread has its own, and who runs inline borrows one that is free.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::session::Session;
use crate::telemetry::threads;

/// The sessions of one model, at least one.
#[derive(Debug)]
pub(super) struct Sessions(Vec<Mutex<Session>>);

impl Sessions {
    /// Takes over what was opened.
    pub(super) fn new(sessions: Vec<Session>) -> Self {
        Self(sessions.into_iter().map(Mutex::new).collect())
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The session of one inference thread; waits for who has borrowed it, some microseconds.
    pub(super) fn own(&self, number: usize) -> MutexGuard<'_, Session> {
        self.0[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session that nobody uses; where it can be, the one that this thread used before.
    pub(super) fn borrow(&self) -> Option<MutexGuard<'_, Session>> {
        let (before, from) = self.0.split_at(threads::number().unwrap_or_default() % self.0.len());
        from.iter().chain(before).find_map(|session| match session.try_lock() {
            Ok(session) => Some(session),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        })
    }
}
