//! How much a worker takes at a time: what it can run now, and as much more as it runs while Redis is asked for the next.
//! What it leaves is there for other workers, and not lost with this one.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

/// What runs within this time is taken beforehand: by then the next entries are here.
const AHEAD: Duration = Duration::from_millis(2);

/// Rows that are taken beforehand, at most.
const MOST_AHEAD: usize = 256;

/// Entries that are taken at once, at most.
const MOST_AT_ONCE: usize = 128;

/// The weight of the last run.
const LAST: f64 = 0.2;

/// The room of one version in this worker.
#[derive(Debug)]
pub(super) struct Room {
    /// Rows of all runs that can go on at the same time.
    at_once: usize,
    /// Rows of one run.
    per_run: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    rows: usize,
    /// What one row took, in seconds; nothing before the first run.
    pace: Option<f64>,
}

impl Room {
    /// For so many sessions, each of which runs so many rows at a time.
    pub(super) fn new(sessions: usize, rows: usize) -> Self {
        Self { at_once: sessions * rows, per_run: rows, state: Mutex::default(), changed: Notify::new() }
    }

    /// Waits until there is room, and returns for how many entries of one row.
    pub(super) async fn free(&self) -> usize {
        loop {
            let changed = self.changed.notified();
            let free = self.now();
            if free > 0 {
                return free;
            }
            changed.await;
        }
    }

    fn now(&self) -> usize {
        let state = self.state();
        let room = self.at_once + ahead(state.pace);
        // One run's worth: the others may be for another worker.
        room.saturating_sub(state.rows).min(self.per_run.max(ahead(state.pace))).min(MOST_AT_ONCE)
    }

    /// So many rows were taken.
    pub(super) fn take(&self, rows: usize) {
        self.state().rows += rows;
    }

    /// They are done; `ran` is how long they took where they were run.
    pub(super) fn give_back(&self, rows: usize, ran: Option<Duration>) {
        let mut state = self.state();
        state.rows = state.rows.saturating_sub(rows);
        if let Some(ran) = ran.filter(|ran| !ran.is_zero()) {
            let pace = ran.as_secs_f64() / rows.max(1) as f64;
            state.pace = Some(state.pace.map_or(pace, |known| known + LAST * (pace - known)));
        }
        drop(state);
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of rows")]
fn ahead(pace: Option<f64>) -> usize {
    pace.map_or(0, |pace| ((AHEAD.as_secs_f64() / pace) as usize).min(MOST_AHEAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_model_takes_one_run_at_a_time_and_a_fast_one_takes_ahead() {
        let room = Room::new(1, 8);
        assert_eq!(room.free().await, 8);
        room.take(6);
        assert_eq!(room.free().await, 2);
        room.take(4);
        room.give_back(6, Some(Duration::from_millis(600)));
        assert_eq!(room.free().await, 4);
        room.give_back(4, None);
        for _ in 0..50 {
            room.take(8);
            room.give_back(8, Some(Duration::from_micros(80)));
        }
        assert!(room.free().await > 100);
    }
}
