//! The lines of runs that wait for a session: bounded in length and in time, and left by who does not wait any more.
//!
//! A request is let in as a whole or refused at once. What was foreseen can be wrong: a request of which nothing has begun
//! leaves, as a whole again, when it has waited for as long as it may and is not about to begin. Requests of one run and
//! requests of several stand in two lines, from which sessions take in turn: a large batch makes single requests wait
//! twice as long at most, and they make it last twice as long. A session that is free takes the run whose turn it is, and
//! with it what may share that run.

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
use crate::telemetry::labels::Release;

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
    /// How long a run that is not full waits for more rows while another session is at work. Where none is, or this is
    /// zero, it never does.
    pub max_delay: Duration,
}

/// What a session takes.
#[derive(Debug)]
pub(super) struct Batch<T> {
    /// What goes together; the first is the one whose turn it was.
    pub items: Vec<T>,
    /// Why it did not wait for more.
    pub reason: Release,
}

/// Says which of those that wait go along with the one whose turn it is, and whether the run is full with them.
pub(super) type Companions<'a, T> = &'a dyn Fn(&T, &[&T]) -> (Vec<usize>, bool);

/// How many of those that wait are looked at for companions.
const MOST_LOOKED_AT: usize = 512;

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

/// What there is to do for a session.
enum Take<T> {
    Now(Batch<T>),
    /// A run that waits for so much longer, unless more comes.
    Later(Duration),
    Nothing,
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    /// When it would have been its turn, as measured run times tell.
    pub retry_after: Duration,
    /// Whether others would have been let in, who have more time.
    pub hasty: bool,
}

/// A request waits for so many times the longest foreseen wait at most, whatever is foreseen meanwhile.
const MAX_WAITS: u32 = 2;

/// A session that sleeps takes longer to be woken than a request may have to wait where it is to wait for nothing.
const MIN_PATIENCE: Duration = Duration::from_millis(100);

/// What becomes of a request that has waited for as long as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It waits no more: some of its runs began, or it has left.
    Begun,
    /// It is about to begin.
    Soon,
    /// It is out of the line.
    GivenUp {
        /// When it would be its turn, as is foreseen now.
        retry_after: Duration,
    },
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
    pub(super) fn pop(&self, session: usize, companions: Companions<'_, T>) -> Option<Batch<T>> {
        let mut state = self.lock();
        loop {
            match state.take(self.limits.max_delay, companions) {
                Take::Now(batch) => {
                    self.waiting.fetch_sub(batch.items.len(), Ordering::Relaxed);
                    state.forecast.began(session);
                    return Some(batch);
                }
                Take::Later(delay) => {
                    state.asleep += 1;
                    let woken = self.arrived.wait_timeout(state, delay);
                    (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
                    state.asleep -= 1;
                    continue;
                }
                Take::Nothing => {}
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

    /// What `session` took is done: a run of `time` for so many of those that waited, or nothing that needed one.
    pub(super) fn finished(&self, session: usize, spent: Option<(Duration, usize)>) {
        let mut state = self.lock();
        state.forecast.ended(session);
        if let Some((time, items)) = spent {
            state.forecast.learn(time, items);
        }
        // A run that waits for more rows does so only while another one goes on.
        let wake = state.asleep > 0 && !state.is_empty();
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// A run took so long, outside of the line.
    pub(super) fn learn(&self, time: Duration) {
        self.lock().forecast.learn(time, 1);
    }

    /// How long a request waits before it is looked at again.
    pub(super) fn patience(&self) -> Duration {
        self.limits.max_wait.max(MIN_PATIENCE)
    }

    /// Takes a request of which nothing has begun out of the line, unless it is about to begin.
    /// `tell` learns when it would be its turn, before those who wait for its runs learn that there are none.
    fn give_up(&self, number: u64, runs: usize, waited: Duration, tell: impl FnOnce(Duration)) -> Overdue {
        let single = runs == 1;
        let mut state = self.lock();
        if state.line(single).left.get(&number) != Some(&runs) {
            return Overdue::Begun;
        }
        let begins_in = state.foresee_for(number, single);
        if begins_in <= self.limits.max_wait && waited < self.patience() * MAX_WAITS {
            return Overdue::Soon;
        }
        let removed = state.line(single).remove_all(number);
        self.waiting.fetch_sub(removed.len(), Ordering::Relaxed);
        drop(state);
        tell(begins_in);
        // Not under the lock: what waited may be large.
        drop(removed);
        Overdue::GivenUp { retry_after: begins_in }
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

    /// The run whose turn it is, with its companions; or how much longer it may wait for some.
    fn take(&mut self, max_delay: Duration, companions: Companions<'_, T>) -> Take<T> {
        let single = self.batches.waiting.is_empty() || (!self.batch_is_next && !self.singles.waiting.is_empty());
        let (own, other) = if single { (&self.singles, &self.batches) } else { (&self.batches, &self.singles) };
        let mut waiting = own.waiting.iter().chain(&other.waiting);
        let Some((_, first)) = waiting.next() else { return Take::Nothing };
        let (places, others): (Vec<_>, Vec<_>) =
            waiting.take(MOST_LOOKED_AT).map(|(place, waiting)| (*place, &waiting.item)).unzip();
        let (chosen, full) = companions(&first.item, &others);
        let waited = first.since.elapsed();
        let reason = match full {
            true => Release::Full,
            false if max_delay.is_zero() || !self.forecast.is_busy() => Release::Idle,
            false if waited >= max_delay => Release::Delay,
            false => return Take::Later(max_delay - waited),
        };
        let chosen: Vec<_> = chosen.into_iter().filter_map(|index| places.get(index).copied()).collect();
        let mut items = Vec::with_capacity(chosen.len() + 1);
        items.extend(self.line(single).take());
        for place in chosen {
            let item = self.singles.remove(place).or_else(|| self.batches.remove(place));
            items.extend(item);
        }
        self.batch_is_next = single;
        Take::Now(Batch { items, reason })
    }

    fn is_empty(&self) -> bool {
        self.singles.waiting.is_empty() && self.batches.waiting.is_empty()
    }

    fn has_idle_session(&self) -> bool {
        self.singles.runs() + self.batches.runs() < self.forecast.idle()
    }

    /// In what time the first run of a request in line would begin.
    fn foresee_for(&self, number: u64, single: bool) -> Duration {
        let (own, other) = if single { (&self.singles, &self.batches) } else { (&self.batches, &self.singles) };
        let ahead: usize = own.left.range(..number).map(|(_, runs)| runs).sum();
        self.forecast.wait(ahead + other.runs().min(ahead + 1))
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
mod tests;
