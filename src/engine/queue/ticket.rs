//! A request that was let into the line, and the places of its runs there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{Queue, line::Waiting};

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
}

/// A place in the line, left when it is dropped.
#[derive(Debug)]
pub(in crate::engine) struct Place<'a, T> {
    ticket: &'a Ticket<T>,
    run: usize,
    served: bool,
}

impl<T> Ticket<T> {
    pub(super) const fn new(queue: Arc<Queue<T>>, number: u64, runs: usize) -> Self {
        Self { queue, number, runs, sent: AtomicUsize::new(0), served: AtomicUsize::new(0) }
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
