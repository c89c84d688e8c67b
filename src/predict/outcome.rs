//! Counts how requests end.

use std::time::Instant;

use super::noted::Noted;
use crate::{
    cache::{Found, Summary},
    error::{Error, ErrorCode},
    registry::Loaded,
    telemetry::{
        labels::{Label, Source},
        record::Record,
        statistics::Answered,
    },
};

/// Counts how a request ended, also when nobody waits for its end.
pub(super) struct Outcome<'a> {
    pub loaded: &'a Loaded,
    pub record: &'a Record,
    pub started: Instant,
    pub items: usize,
    pub deadline: Instant,
    pub told: bool,
}

/// What became of a request.
pub(super) struct Answers {
    pub found: Vec<Found>,
    /// What the cache did.
    pub cache: Option<Summary>,
    /// Those of all items.
    pub rows: usize,
    /// What the history keeps of it.
    pub noted: Noted,
}

impl Outcome<'_> {
    pub(super) fn tell(
        mut self,
        result: Result<Answers, Error>,
    ) -> Result<(Vec<Found>, Option<Summary>, Noted), Error> {
        self.told = true;
        match result {
            Err(error) => {
                self.failed(error.code());
                Err(error)
            }
            Ok(Answers { found, cache, rows, noted }) => {
                self.answered(&found, cache.as_ref(), rows);
                Ok((found, cache, noted))
            }
        }
    }

    fn answered(&self, found: &[Found], cache: Option<&Summary>, rows: usize) {
        let metrics = &self.loaded.metrics;
        let of = |source| found.iter().filter(|found| found.source == source).count();
        Source::ALL.iter().for_each(|source| metrics.outcomes.predicted(*source, of(*source)));
        let computed = of(Source::Computed);
        // Rows are told apart by item only where each is one.
        let computed_rows = if computed == found.len() { rows } else { computed };
        let known = cache.map(|_| of(Source::Memory) + of(Source::Redis) == found.len());
        let timings = self.record.timings();
        metrics.statistics.answered(self.started.elapsed(), &timings, Answered { computed_rows, known });
    }

    fn failed(&self, code: ErrorCode) {
        self.loaded.metrics.outcomes.failed(code, self.items);
        self.loaded.metrics.statistics.failed(self.started.elapsed());
    }
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        if !self.told {
            let expired = Instant::now() >= self.deadline;
            self.failed(if expired { ErrorCode::DeadlineExceeded } else { ErrorCode::CallerLeft });
        }
    }
}
