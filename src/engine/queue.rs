//! The line of runs that wait for a session: bounded in length and in time, and left by who does not wait any more.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a line may become.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Runs that may wait.
    pub capacity: usize,
    /// How long a run may have to wait, as far as that can be foreseen.
    pub max_wait: Duration,
}

/// The line in front of some sessions, in the order of arrival.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    limits: Limits,
    sessions: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: BTreeMap<u64, T>,
    next: u64,
    /// Sessions that are running something.
    busy: usize,
    /// Mean time of the last runs; `None` before the first.
    run_time: Option<Duration>,
    closed: bool,
}

/// Why a run was not let into the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    /// When there is likely to be place again, as measured run times tell.
    pub retry_after: Duration,
}

/// A place in the line, left when it is dropped.
#[derive(Debug)]
pub(super) struct Place<T> {
    queue: Arc<Queue<T>>,
    number: u64,
}

impl<T> Queue<T> {
    /// An empty line in front of so many sessions.
    pub(super) fn new(sessions: usize, limits: Limits) -> Arc<Self> {
        let state = State { waiting: BTreeMap::new(), next: 0, busy: 0, run_time: None, closed: false };
        Arc::new(Self { state: Mutex::new(state), arrived: Condvar::new(), limits, sessions })
    }

    /// Takes a place at the end of the line.
    ///
    /// # Errors
    /// When the line is as long as it may be, or a run would have to wait for too long, or beyond its `deadline`: it is
    /// better refused at once than given up later.
    pub(super) fn push(self: &Arc<Self>, item: T, deadline: Instant) -> Result<Place<T>, Full> {
        let mut state = self.lock();
        let wait = state.foreseen_wait(self.sessions);
        let patience = self.limits.max_wait.min(deadline.saturating_duration_since(Instant::now()));
        // An idle session takes the next run whatever was foreseen.
        let idle = state.busy + state.waiting.len() < self.sessions;
        if !idle && (state.waiting.len() >= self.limits.capacity || wait > patience) {
            return Err(Full { retry_after: wait });
        }
        let number = state.next;
        state.next += 1;
        state.waiting.insert(number, item);
        drop(state);
        self.arrived.notify_one();
        Ok(Place { queue: Arc::clone(self), number })
    }

    /// Waits for the first in the line; `None` when the line is closed and empty. Who gets something says with
    /// [`finished`](Self::finished) when it is done.
    pub(super) fn pop(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some((_, item)) = state.waiting.pop_first() {
                state.busy += 1;
                return Some(item);
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What was taken is done: a run of `time`, or nothing that needed one.
    pub(super) fn finished(&self, time: Option<Duration>) {
        let mut state = self.lock();
        state.busy = state.busy.saturating_sub(1);
        if let Some(time) = time {
            // A moving mean over about ten runs: it follows a change within some runs and forgets a single slow one.
            state.run_time = Some(state.run_time.map_or(time, |mean| mean.mul_f64(0.9) + time.mul_f64(0.1)));
        }
    }

    /// Lets nobody wait any more than there are already.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// What a run that comes now would have to wait: all that wait before it, and half of what runs.
    fn foreseen_wait(&self, sessions: usize) -> Duration {
        let before = self.waiting.len() as f64 + self.busy as f64 / 2.0;
        self.run_time.unwrap_or_default().mul_f64(before / sessions.max(1) as f64)
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        let left = self.queue.lock().waiting.remove(&self.number);
        // Not under the lock: an item may be large.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { capacity: 2, max_wait: Duration::from_secs(1) };

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    /// A line whose only session is at a run, runs taking so long.
    fn busy(run_time: Duration) -> Arc<Queue<u8>> {
        let queue = Queue::new(1, LIMITS);
        for _ in 0..2 {
            let _place = queue.push(0, far()).unwrap();
            queue.pop();
            queue.finished(Some(run_time));
        }
        let _place = queue.push(0, far()).unwrap();
        queue.pop();
        queue
    }

    #[test]
    fn the_line_is_served_in_order_and_bounded() {
        let queue = busy(Duration::ZERO);
        let places = [queue.push(1, far()).unwrap(), queue.push(2, far()).unwrap()];
        assert!(queue.push(3, far()).is_err());
        assert_eq!((queue.pop(), queue.pop()), (Some(1), Some(2)));
        drop(places);
        queue.close();
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn who_leaves_frees_a_place() {
        let queue = busy(Duration::ZERO);
        let first = queue.push(1, far()).unwrap();
        let _second = queue.push(2, far()).unwrap();
        drop(first);
        let _third = queue.push(3, far()).unwrap();
        assert_eq!((queue.pop(), queue.pop()), (Some(2), Some(3)));
        assert!(queue.lock().waiting.is_empty());
    }

    #[test]
    fn what_would_wait_too_long_is_refused_with_the_time_that_it_takes() {
        let queue = busy(Duration::from_millis(800));
        // Half a run is before it.
        let _first = queue.push(1, far()).unwrap();
        let full = queue.push(2, far()).unwrap_err();
        assert_eq!(full.retry_after, Duration::from_millis(1200));
    }

    #[test]
    fn what_cannot_be_done_before_its_deadline_is_refused_at_once() {
        let queue = busy(Duration::from_millis(800));
        assert!(queue.push(1, Instant::now() + Duration::from_millis(300)).is_err());
        assert!(queue.push(1, Instant::now() + Duration::from_millis(900)).is_ok());
    }

    #[test]
    fn an_idle_session_takes_a_run_however_long_the_last_ones_took() {
        let queue = busy(Duration::from_secs(60));
        assert!(queue.push(1, far()).is_err());
        queue.finished(None);
        assert!(queue.push(1, far()).is_ok());
    }
}
