//! What probes, metrics and the log say about the history: whether its database takes rows, and whether rows are lost.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::trouble::Trouble;
use crate::telemetry::metrics::Metrics;

/// What went wrong is told for this long after it happened the last time.
pub(super) const HOLD: Duration = Duration::from_secs(60);

/// While rows are lost, a database that fails again soon after its return must take rows for this long before it counts as
/// back, and for twice as long each further time.
const FIRST_CALM: Duration = Duration::from_secs(2);
const MAX_CALM: Duration = Duration::from_secs(10);

/// Between two lines about rows that are lost.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// How the history is.
#[derive(Debug)]
pub(super) struct Condition {
    state: Mutex<State>,
    /// Whether a write of rows failed and none has succeeded since.
    unproven: AtomicBool,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    /// Why the database does not take rows.
    trouble: Option<Trouble>,
    /// When a write of rows failed the last time.
    failed: Option<Instant>,
    /// When the database was back the last time.
    back: Option<Instant>,
    /// For how long no write may have failed before the database counts as back.
    calm: Duration,
    /// When rows were lost the last time, and why.
    lost: Option<(Instant, String)>,
    /// When the log told it the last time, and the rows that it has not told.
    told: Option<Instant>,
    untold: usize,
}

impl Condition {
    /// Nothing was asked yet.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { state: Mutex::default(), unproven: AtomicBool::new(false), metrics }
    }

    /// Why the database does not take rows, when it does not.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.state().trouble
    }

    /// The database does not do what it was asked.
    pub(super) fn away(&self, trouble: Trouble) {
        let before = self.state().trouble.replace(trouble);
        self.metrics.history.database_away(true);
        if before.is_none() {
            tracing::warn!(reason = %trouble, "rows of the history go to the spool until the database is back");
        }
    }

    /// Rows were not written.
    pub(super) fn failed(&self) {
        let now = Instant::now();
        let mut state = self.state();
        if state.trouble.is_none() && state.failed.is_some() {
            let is_recent = |time: Instant| now.duration_since(time) < HOLD;
            let again =
                state.back.is_some_and(is_recent) && state.lost.as_ref().is_some_and(|(lost, _)| is_recent(*lost));
            state.calm = if again { (state.calm * 2).clamp(FIRST_CALM, MAX_CALM) } else { Duration::ZERO };
        }
        state.failed = Some(now);
        self.unproven.store(true, Ordering::Release);
    }

    /// Rows were written.
    pub(super) fn written(&self) {
        if self.unproven.load(Ordering::Acquire) {
            self.unproven.store(false, Ordering::Release);
        }
    }

    /// The database answers, and nothing waits for it. It is back where it has taken rows since it failed to take some, or
    /// where that is long ago: a database that is full answers well as long as it has nothing to write.
    pub(super) fn answers(&self) {
        let mut state = self.state();
        let rest = state.failed.map_or(HOLD, |failed| failed.elapsed());
        let is_proven = !self.unproven.load(Ordering::Acquire) && rest >= state.calm;
        if !is_proven && rest < HOLD {
            return;
        }
        let before = state.trouble.take();
        self.metrics.history.database_away(false);
        if before.is_some() {
            state.back = Some(Instant::now());
            tracing::info!("the database takes rows of the history again");
        }
    }

    /// Rows are nowhere.
    pub(super) fn lost(&self, reason: &str) {
        self.state().lost = Some((Instant::now(), reason.to_owned()));
        self.metrics.history.losing_rows(true);
    }

    /// The same of rows that found no room. The log tells it now and then.
    pub(super) fn dropped(&self, rows: usize, reason: &str) {
        self.lost(reason);
        let now = Instant::now();
        let mut state = self.state();
        state.untold += rows;
        if state.told.is_none_or(|told| now.duration_since(told) > BETWEEN_LINES) {
            state.told = Some(now);
            let rows = std::mem::take(&mut state.untold);
            tracing::error!(
                rows,
                reason,
                "rows of the history are lost: neither the database nor the spool takes them"
            );
        }
    }

    /// Why rows are being lost, or were a moment ago.
    pub(super) fn losing(&self) -> Option<String> {
        let state = self.state();
        let (_, reason) = state.lost.as_ref().filter(|(at, _)| at.elapsed() < HOLD)?;
        Some(reason.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_failed_to_take_rows_is_back_when_it_has_taken_some() {
        let condition = Condition::new(Arc::new(Metrics::new().unwrap()));
        condition.failed();
        condition.away(Trouble::Full);
        condition.answers();
        assert_eq!(condition.trouble(), Some(Trouble::Full), "it had nothing to write");
        condition.written();
        condition.answers();
        assert_eq!(condition.trouble(), None);
        for (reason, expected) in [(None, None), (Some("the spool is full"), Some(Trouble::Full))] {
            reason.into_iter().for_each(|reason| condition.lost(reason));
            condition.failed();
            condition.away(Trouble::Full);
            condition.written();
            condition.answers();
            assert_eq!(condition.trouble(), expected, "it failed again as soon as it was back");
        }
    }
}
