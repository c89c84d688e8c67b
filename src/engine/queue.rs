//! The lines of runs that wait for a session: bounded in length and in time, and left by who does not wait any more.
//!
//! A request is let in as a whole or refused at once, and none of its runs is refused later. Requests of one run and
//! requests of several stand in two lines, from which sessions take in turn: a large batch makes single requests wait
//! twice as long at most, and they make it last twice as long.

mod forecast;
mod line;
mod ticket;

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

pub(super) use self::ticket::Ticket;
use self::{forecast::Forecast, line::Line};

/// How often a session that has nothing to do looks again before it sleeps: under load the next run is near, and to
/// sleep and be woken up are system calls.
const LOOKS: usize = 64;

/// How long the lines may become.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests that may wait.
    pub capacity: usize,
    /// How long a request may have to wait, as far as that can be foreseen.
    pub max_wait: Duration,
}

/// The lines in front of some sessions, each in the order of arrival.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    /// Runs that wait, for a look without the lock.
    waiting: AtomicUsize,
    limits: Limits,
}

#[derive(Debug)]
struct State<T> {
    /// Requests of one run.
    singles: Line<T>,
    /// Requests of several runs. The first in line comes before the others with all of its runs.
    batches: Line<T>,
    /// Whose turn it is when somebody waits in both.
    batch_is_next: bool,
    forecast: Forecast,
    last: u64,
    /// Sessions that have to be woken up: nobody else is worth a system call.
    asleep: usize,
    closed: bool,
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    /// When it would have been its turn, as measured run times tell.
    pub retry_after: Duration,
    /// Whether others would have been let in, who have more time.
    pub hasty: bool,
}

impl<T> Queue<T> {
    /// Empty lines in front of so many sessions.
    pub(super) fn new(sessions: usize, limits: Limits) -> Arc<Self> {
        let state = State {
            singles: Line::default(),
            batches: Line::default(),
            batch_is_next: false,
            forecast: Forecast::new(sessions),
            last: 0,
            asleep: 0,
            closed: false,
        };
        Arc::new(Self { state: Mutex::new(state), arrived: Condvar::new(), waiting: AtomicUsize::new(0), limits })
    }

    /// Lets a request of so many `runs` in.
    ///
    /// # Errors
    /// When as many wait as may, or it would have to wait for too long, or could not be done before its `deadline`: it is
    /// better refused at once than given up later.
    pub(super) fn admit(self: &Arc<Self>, runs: usize, deadline: Instant) -> Result<Ticket<T>, Full> {
        let runs = runs.max(1);
        let mut state = self.lock();
        let single = runs == 1;
        let (begins_in, done_in) = state.foresee(runs);
        let waiting = state.singles.left.len() + state.batches.left.len();
        // Some of them are about to be taken.
        let places = self.limits.capacity + state.forecast.idle();
        let full = waiting >= places || begins_in > self.limits.max_wait;
        let hasty = Instant::now() + done_in > deadline;
        // An idle session takes the next run whatever was foreseen.
        if !state.has_idle_session() && (full || hasty) {
            return Err(Full { retry_after: begins_in, hasty: !full });
        }
        state.last += 1;
        let number = state.last;
        state.line(single).left.insert(number, runs);
        Ok(Ticket::new(Arc::clone(self), number, runs))
    }

    /// Waits for a run that is `session`'s to do; `None` when the queue is closed and empty. Who gets something says with
    /// [`finished`](Self::finished) when it is done.
    pub(super) fn pop(&self, session: usize) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.take() {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                state.forecast.began(session);
                return Some(item);
            }
            if state.closed {
                return None;
            }
            drop(state);
            let came = (0..LOOKS).any(|_| {
                std::hint::spin_loop();
                self.waiting.load(Ordering::Relaxed) > 0
            });
            state = self.lock();
            if !came && state.is_empty() && !state.closed {
                state.asleep += 1;
                state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.asleep -= 1;
            }
        }
    }

    /// What `session` took is done: a run of `time`, or nothing that needed one.
    pub(super) fn finished(&self, session: usize, time: Option<Duration>) {
        let mut state = self.lock();
        state.forecast.ended(session);
        if let Some(time) = time {
            state.forecast.learn(time);
        }
    }

    /// A run took so long, outside of the line.
    pub(super) fn learn(&self, time: Duration) {
        self.lock().forecast.learn(time);
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
    const fn line(&mut self, single: bool) -> &mut Line<T> {
        if single { &mut self.singles } else { &mut self.batches }
    }

    fn take(&mut self) -> Option<T> {
        let single = self.batches.waiting.is_empty() || (!self.batch_is_next && !self.singles.waiting.is_empty());
        let item = self.line(single).take()?;
        self.batch_is_next = single;
        Some(item)
    }

    fn is_empty(&self) -> bool {
        self.singles.waiting.is_empty() && self.batches.waiting.is_empty()
    }

    fn has_idle_session(&self) -> bool {
        self.singles.runs() + self.batches.runs() < self.forecast.idle()
    }

    /// In what time the first of so many runs would begin, and the last be done.
    fn foresee(&self, runs: usize) -> (Duration, Duration) {
        let (singles, batches) = (self.singles.runs(), self.batches.runs());
        let (own, other) = if runs == 1 { (singles, batches) } else { (batches, singles) };
        // The lines take turns: of the other one, no more come first than of the own one.
        let begins_in = self.forecast.wait(own + other.min(own + 1));
        let last_begins_in = self.forecast.wait(own + runs - 1 + other.min(own + runs));
        (begins_in, last_begins_in + self.forecast.run_time())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { capacity: 2, max_wait: Duration::from_secs(1) };

    fn after(ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    fn far() -> Instant {
        after(3_600_000)
    }

    /// Lines whose only session has just begun a run; runs take so many milliseconds.
    fn busy(run_time: u64, limits: Limits) -> Arc<Queue<u8>> {
        let queue = Queue::new(1, limits);
        queue.learn(Duration::from_millis(run_time));
        let ticket = queue.admit(1, far()).unwrap();
        let _place = ticket.push(0);
        assert_eq!(queue.pop(0), Some(0));
        queue
    }

    #[test]
    fn a_line_is_served_in_order_and_bounded() {
        let queue = busy(0, LIMITS);
        let tickets = [1, 2].map(|_| queue.admit(1, far()).unwrap());
        let places = [tickets[0].push(1), tickets[1].push(2)];
        assert!(queue.admit(1, far()).is_err());
        assert_eq!((queue.pop(0), queue.pop(0)), (Some(1), Some(2)));
        drop(places);
        queue.close();
        assert_eq!(queue.pop(0), None);
    }

    #[test]
    fn who_leaves_frees_a_place() {
        let queue = busy(0, LIMITS);
        let [first, second] = [1, 2].map(|_| queue.admit(1, far()).unwrap());
        let (left, _place) = (first.push(1), second.push(2));
        drop(left);
        drop(first);
        let third = queue.admit(1, far()).unwrap();
        let _place = third.push(3);
        assert_eq!((queue.pop(0), queue.pop(0)), (Some(2), Some(3)));
        let state = queue.lock();
        assert!(state.singles.waiting.is_empty() && state.singles.left.is_empty());
    }

    #[test]
    fn what_would_wait_too_long_is_refused_with_the_time_that_it_takes() {
        let queue = busy(800, LIMITS);
        let _first = queue.admit(1, far()).unwrap();
        let full = queue.admit(1, far()).unwrap_err();
        assert!((1500..=1600).contains(&full.retry_after.as_millis()), "{full:?}");
    }

    #[test]
    fn what_cannot_be_done_before_its_deadline_is_refused_at_once() {
        // 0.8 s for the run before it, and 0.8 s for its own.
        let queue = busy(800, LIMITS);
        assert!(queue.admit(1, after(1400)).is_err());
        assert!(queue.admit(1, after(1700)).is_ok());
        assert!(queue.admit(3, after(3000)).is_err());
        assert!(queue.admit(3, after(3400)).is_ok());
    }

    #[test]
    fn an_idle_session_takes_a_run_however_long_the_last_ones_took() {
        let queue = busy(60_000, LIMITS);
        assert!(queue.admit(1, far()).is_err());
        queue.finished(0, None);
        let _first = queue.admit(1, after(10)).unwrap();
        assert!(queue.admit(1, far()).is_err());
    }

    #[test]
    fn the_lines_take_turns_and_the_oldest_batch_comes_first() {
        let queue = busy(0, Limits { capacity: 9, ..LIMITS });
        let [one, other] = [1, 2].map(|_| queue.admit(3, far()).unwrap());
        let singles = [7, 8, 9].map(|_| queue.admit(1, far()).unwrap());
        let _places = [other.push(20), other.push(21), one.push(10), one.push(11)];
        let _more = [singles[0].push(7), singles[1].push(8), singles[2].push(9)];
        let order: Vec<_> = (0..7).map(|_| queue.pop(0).unwrap()).collect();
        assert_eq!(order, [10, 7, 11, 8, 20, 9, 21]);
        // What is let in goes on, however many have come meanwhile.
        let _place = one.push(12);
        assert_eq!(queue.pop(0), Some(12));
    }

    #[test]
    fn a_batch_is_one_request_with_all_its_runs() {
        let queue = busy(100, Limits { capacity: 9, max_wait: Duration::from_millis(950) });
        let batch = queue.admit(50, far()).unwrap();
        // Behind the run that goes on and all of the batch; but one run needs to wait for the first of them only.
        assert!((5000..=5100).contains(&queue.admit(2, far()).unwrap_err().retry_after.as_millis()));
        let _singles: Vec<_> = (0..4).map(|_| queue.admit(1, far()).unwrap()).collect();
        assert!(queue.admit(1, far()).is_err());
        drop(batch);
        assert!(queue.admit(1, far()).is_ok());
    }
}
