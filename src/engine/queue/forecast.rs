//! How long who comes now would have to wait, as the run times tell that were measured so far.

use std::time::{Duration, Instant};

/// What is known of the sessions behind a line.
#[derive(Debug)]
pub(super) struct Forecast {
    /// Mean time of the last runs; zero before the first.
    run_time: Duration,
    /// The same, divided by what went together in each of them.
    share: Duration,
    /// Runs that were measured.
    runs: u32,
    /// Since when each session has been at its run; `None` while it has none.
    busy_since: Vec<Option<Instant>>,
}

impl Forecast {
    /// Of so many idle sessions.
    pub(super) fn new(sessions: usize) -> Self {
        Self { run_time: Duration::ZERO, share: Duration::ZERO, runs: 0, busy_since: vec![None; sessions] }
    }

    /// A session begins with something.
    pub(super) fn began(&mut self, session: usize) {
        self.busy_since[session] = Some(Instant::now());
    }

    /// A session has nothing to do any more.
    pub(super) fn ended(&mut self, session: usize) {
        self.busy_since[session] = None;
    }

    /// A run for so many of those that waited took so long. The mean is that of all runs at first, so that one good sample is worth something; later it
    /// moves with the last ten or so: it follows a change within some runs and forgets a single slow one.
    pub(super) fn learn(&mut self, time: Duration, items: usize) {
        self.runs = self.runs.saturating_add(1);
        let weight = f64::from(self.runs).recip().max(0.1);
        let share = time / u32::try_from(items).unwrap_or(u32::MAX).max(1);
        self.run_time = self.run_time.mul_f64(1.0 - weight) + time.mul_f64(weight);
        self.share = self.share.mul_f64(1.0 - weight) + share.mul_f64(weight);
    }

    /// Mean time of the last runs.
    pub(super) const fn run_time(&self) -> Duration {
        self.run_time
    }

    /// Sessions that have nothing to do.
    pub(super) fn idle(&self) -> usize {
        self.busy_since.iter().filter(|since| since.is_none()).count()
    }

    /// Whether any session is at work.
    pub(super) fn is_busy(&self) -> bool {
        self.busy_since.iter().any(Option::is_some)
    }

    /// How long it takes until `ahead` runs have been given to sessions and one is free for the next.
    ///
    /// Sessions become free one after the other, and work off the line together from then on. The time that is looked for
    /// is where all that they can do by then is as much as there is to do; a session that is not free by then, because its
    /// run does not end, counts for nothing.
    pub(super) fn wait(&self, ahead: usize) -> Duration {
        let now = Instant::now();
        let mut free_in: Vec<_> = self.busy_since.iter().map(|since| self.rest(*since, now)).collect();
        free_in.sort_unstable();
        let mut work = self.share.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX));
        let mut wait = Duration::ZERO;
        for (index, free) in free_in.iter().enumerate() {
            work = work.saturating_add(*free);
            wait = work / u32::try_from(index + 1).unwrap_or(u32::MAX);
            if free_in.get(index + 1).is_none_or(|next| wait <= *next) {
                break;
            }
        }
        wait
    }

    /// What is left of a run: the rest of the mean; and of one that takes longer than that, as long as it is late already.
    fn rest(&self, since: Option<Instant>, now: Instant) -> Duration {
        since.map_or(Duration::ZERO, |since| self.run_time.abs_diff(now.saturating_duration_since(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions that have been at their runs for so many milliseconds, of which the mean takes 100.
    fn forecast(busy_for: &[Option<u64>]) -> Forecast {
        let mut forecast = Forecast::new(busy_for.len());
        forecast.learn(Duration::from_millis(100), 1);
        let since = |ms: Option<u64>| Some(Instant::now() - Duration::from_millis(ms?));
        forecast.busy_since = busy_for.iter().map(|ms| since(*ms)).collect();
        forecast
    }

    #[test]
    fn the_wait_is_that_for_all_who_are_ahead() {
        for (busy_for, ahead, expected) in [
            (vec![None], 0, 0),
            (vec![Some(0)], 0, 100),
            (vec![Some(60)], 0, 40),
            (vec![Some(60)], 3, 340),
            (vec![Some(50), Some(50)], 0, 50),
            (vec![Some(50), Some(50)], 4, 250),
            (vec![Some(10), Some(90)], 0, 10),
            // The second works off three runs until the first, which is late, is expected back.
            (vec![Some(450), Some(100)], 3, 300),
            (vec![Some(450), Some(100)], 7, 525),
            // One that does not come back is not waited for, as long as there is another.
            (vec![Some(60_000), Some(50)], 4, 450),
            (vec![Some(60_000)], 0, 59_900),
        ] {
            let got = forecast(&busy_for).wait(ahead).as_millis();
            // The clock goes on in between.
            assert!(got.abs_diff(expected) <= 40, "{busy_for:?}, {ahead} ahead: {got} instead of {expected}");
        }
    }

    #[test]
    fn the_mean_begins_with_the_first_run_and_forgets_slowly() {
        let mut forecast = Forecast::new(1);
        assert_eq!(forecast.run_time(), Duration::ZERO);
        for (time, mean) in [(100, 100), (300, 200), (200, 200)] {
            forecast.learn(Duration::from_millis(time), 1);
            assert_eq!(forecast.run_time().as_millis(), mean);
        }
        for _ in 0..50 {
            forecast.learn(Duration::from_millis(200), 1);
        }
        forecast.learn(Duration::from_millis(1200), 1);
        assert_eq!(forecast.run_time().as_millis(), 300);
    }
}
