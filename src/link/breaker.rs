//! A circuit breaker: who fails is left alone until a probe in the background shows that it is back.
//!
//! Nobody but the prober decides that it is back, so no caller pays for finding out. One failure is enough to leave a
//! part alone; whether that is worth a word depends on what the probe right after it says.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

/// Why a part is left alone, in words for probes and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It was not asked yet.
    NotAskedYet,
    /// Nobody listens there, or the connection was lost.
    Unreachable,
    /// It does not answer in time.
    Slow,
    /// It does not know this user and password, or does not let them do this.
    Refused,
    /// It takes no more data.
    Full,
    /// It sends larger replies than are taken, or some that were not asked for.
    Excessive,
    /// It is still starting.
    Loading,
    /// It answers with some other error.
    Failing,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAskedYet => "it was not asked yet",
            Self::Unreachable => "it cannot be reached",
            Self::Slow => "it does not answer in time",
            Self::Refused => "it refuses the user or the password",
            Self::Full => "it is full",
            Self::Excessive => "it sends more than it was asked for",
            Self::Loading => "it is still loading its data",
            Self::Failing => "it answers with errors",
        })
    }
}

/// After so many failures in a row a part is away, though it answered every probe in between.
const MOST_FAILURES: u32 = 3;

/// Lets callers through, or not.
#[derive(Debug)]
pub(super) struct Breaker {
    lets_through: AtomicBool,
    state: Mutex<State>,
    tripped: Notify,
}

#[derive(Debug)]
struct State {
    /// Since the last success of a caller.
    failures: u32,
    last: Trouble,
    /// Whether anybody was told.
    announced: bool,
}

impl Breaker {
    /// Nobody is let through before the first [`close`](Self::close).
    pub(super) fn new() -> Self {
        let state = State { failures: 0, last: Trouble::NotAskedYet, announced: false };
        Self { lets_through: AtomicBool::new(false), state: Mutex::new(state), tripped: Notify::new() }
    }

    /// Whether a caller may try.
    pub(super) fn lets_through(&self) -> bool {
        self.lets_through.load(Ordering::Acquire)
    }

    /// A caller was served.
    pub(super) fn succeeded(&self) {
        // Who was served after the gate was shut says nothing about what comes next.
        if self.lets_through() {
            self.state().failures = 0;
        }
    }

    /// A caller was not: the next ones need not try, and the prober looks at once.
    pub(super) fn failed(&self, trouble: Trouble) {
        let mut state = self.state();
        state.failures += 1;
        state.last = trouble;
        self.lets_through.store(false, Ordering::Release);
        self.tripped.notify_one();
    }

    /// For the prober: waits until a caller fails. Tells how, when a probe need not be asked any more.
    pub(super) async fn tripped(&self) -> Option<Trouble> {
        self.tripped.notified().await;
        // Who fails after the gate was opened anew speaks of an older connection.
        while self.lets_through() {
            self.tripped.notified().await;
        }
        let state = self.state();
        let certain = !matches!(state.last, Trouble::Slow | Trouble::Failing);
        (certain || state.failures >= MOST_FAILURES).then_some(state.last)
    }

    /// For the prober: it is away. Returns whether that is news.
    pub(super) fn open(&self, trouble: Trouble) -> bool {
        let mut state = self.state();
        self.lets_through.store(false, Ordering::Release);
        state.failures = 0;
        state.last = trouble;
        !std::mem::replace(&mut state.announced, true)
    }

    /// For the prober: it answers. Returns whether that is news.
    pub(super) fn close(&self) -> bool {
        let mut state = self.state();
        self.lets_through.store(true, Ordering::Release);
        std::mem::replace(&mut state.announced, false)
    }

    /// Why it is left alone, once that is known for certain.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let state = self.state();
        state.announced.then_some(state.last)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> Breaker {
        let breaker = Breaker::new();
        breaker.close();
        breaker
    }

    #[test]
    fn nobody_is_let_through_before_the_first_answer_and_nobody_complains() {
        let breaker = Breaker::new();
        assert!(!breaker.lets_through());
        assert_eq!(breaker.trouble(), None);
        assert!(!breaker.close(), "this is no news");
        assert!(breaker.lets_through());
    }

    #[tokio::test]
    async fn one_slow_answer_keeps_callers_away_until_a_probe_is_answered() {
        let breaker = closed();
        breaker.failed(Trouble::Slow);
        assert!(!breaker.lets_through());
        assert_eq!((breaker.tripped().await, breaker.trouble()), (None, None));
        assert!(!breaker.close(), "nobody was told");
        assert!(breaker.lets_through());
    }

    #[tokio::test]
    async fn slow_answers_in_a_row_open_it_though_probes_are_answered() {
        let breaker = closed();
        for expected in [None, None, Some(Trouble::Slow)] {
            breaker.failed(Trouble::Slow);
            assert_eq!(breaker.tripped().await, expected);
            breaker.close();
        }
        breaker.failed(Trouble::Slow);
        breaker.close();
        breaker.succeeded();
        breaker.failed(Trouble::Slow);
        assert_eq!(breaker.tripped().await, None, "a success in between begins anew");
    }

    #[tokio::test]
    async fn a_certain_failure_needs_no_probe() {
        for trouble in [Trouble::Unreachable, Trouble::Refused, Trouble::Full, Trouble::Excessive, Trouble::Loading] {
            let breaker = closed();
            breaker.failed(trouble);
            assert_eq!(breaker.tripped().await, Some(trouble));
        }
    }

    #[test]
    fn each_change_is_news_once() {
        let breaker = closed();
        assert!(breaker.open(Trouble::Slow));
        assert!(!breaker.open(Trouble::Unreachable));
        assert_eq!(breaker.trouble(), Some(Trouble::Unreachable));
        assert!(breaker.close());
        assert!(!breaker.close());
        assert_eq!(breaker.trouble(), None);
    }
}
