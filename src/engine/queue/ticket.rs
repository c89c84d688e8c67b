//! A request that was let into the line, and the places of its runs there.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Overdue, Queue, line::Waiting};

/// A request that was let in. What it has not begun is given up when this is dropped.
#[derive(Debug)]
pub(in crate::engine) struct Ticket<T> {
    queue: Arc<Queue<T>>,
    number: u64,
    /// Runs that it announced.
    runs: usize,
    /// Runs that were put into the line, and of those, those that a session has done: of them nothing is left there.
    sent: AtomicUsize,
    served: AtomicUsize,
    /// When it was let in.
    since: Instant,
    /// Set when it was taken out of the line again: when it would have been its turn.
    given_up: OnceLock<Duration>,
}

/// A place in the line, left when it is dropped.
#[derive(Debug)]
pub(in crate::engine) struct Place<'a, T> {
    ticket: &'a Ticket<T>,
    run: usize,
    served: bool,
}

impl<T> Ticket<T> {
    pub(super) fn new(queue: Arc<Queue<T>>, number: u64, runs: usize) -> Self {
        let (sent, served) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { queue, number, runs, sent, served, since: Instant::now(), given_up: OnceLock::new() }
    }

    /// Leaves the line with all of its runs when it has waited for as long as it may, unless it is about to begin.
    pub(in crate::engine) fn give_up(&self) -> Overdue {
        // Its other runs went with the first one that was given up.
        if let Some(retry_after) = self.given_up.get() {
            return Overdue::GivenUp { retry_after: *retry_after };
        }
        self.queue.give_up(self.number, self.runs, self.since.elapsed(), |retry_after| {
            let _ = self.given_up.set(retry_after);
        })
    }

    /// When it would have been its turn, where it was given up.
    pub(in crate::engine) fn given_up(&self) -> Option<Duration> {
        self.given_up.get().copied()
    }

    /// Which of the lines it stands in.
    const fn is_single(&self) -> bool {
        self.runs == 1
    }

    /// Puts the next run of this request into the line.
    pub(in crate::engine) fn push(&self, item: T) -> Place<'_, T> {
        let run = self.sent.fetch_add(1, Ordering::Relaxed);
        let mut state = self.queue.lock();
        let line = state.line(self.is_single());
        line.waiting.insert((self.number, run), Waiting { since: Instant::now(), item });
        self.queue.waiting.fetch_add(1, Ordering::Relaxed);
        let asleep = state.asleep > 0;
        drop(state);
        if asleep {
            self.queue.arrived.notify_one();
        }
        Place { ticket: self, run, served: false }
    }
}

impl<T> Place<'_, T> {
    /// The run is done: the line need not be looked through for it. Under load, each look is a wait for the lock.
    pub(in crate::engine) fn served(mut self) {
        self.served = true;
        self.ticket.served.fetch_add(1, Ordering::Relaxed);
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        if self.served.load(Ordering::Relaxed) < self.runs {
            self.queue.lock().line(self.is_single()).left.remove(&self.number);
        }
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        let Self { ticket, run, served } = *self;
        if served {
            return;
        }
        let left = ticket.queue.lock().line(ticket.is_single()).waiting.remove(&(ticket.number, run));
        if left.is_some() {
            ticket.queue.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        // Not under the lock: an item may be large.
        drop(left);
    }
}
