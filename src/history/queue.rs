//! Where answered requests wait for the writer: bounded, and nobody waits at it.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::answered::Answered;

/// What waits in memory. A lock that is held for an append, and nobody to be woken: the writer looks by itself, so that a
/// request pays for no wake-up.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    answered: VecDeque<Answered>,
    rows: usize,
    weight: usize,
}

impl Queue {
    /// Room for so many rows of the usual size.
    pub(super) fn new(capacity: usize) -> Self {
        Self { waiting: Mutex::default(), capacity }
    }

    /// Whether there was room.
    pub(super) fn push(&self, answered: Answered) -> bool {
        let (rows, weight) = (answered.items.len(), answered.weight());
        let mut waiting = self.waiting();
        if waiting.weight + weight > self.capacity {
            return false;
        }
        waiting.rows += rows;
        waiting.weight += weight;
        waiting.answered.push_back(answered);
        true
    }

    /// Everything that waits, in the order in which it came, for the empty one that is put in its place: two take turns, so
    /// that nobody makes room again and again for what comes next.
    pub(super) fn take(&self, mut next: VecDeque<Answered>) -> VecDeque<Answered> {
        let mut waiting = self.waiting();
        // About as many will come until the next time.
        next.shrink_to(4 * waiting.answered.len());
        (waiting.rows, waiting.weight) = (0, 0);
        mem::replace(&mut waiting.answered, next)
    }

    pub(super) fn rows(&self) -> usize {
        self.waiting().rows
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
