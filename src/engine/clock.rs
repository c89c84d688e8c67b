//! How long the runs of one request waited and ran, measured where they do.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::telemetry::{
    labels::Stage,
    record::Record,
    traces::{Run, Span},
};

/// Sums over all runs of one request.
#[derive(Debug, Default)]
pub(super) struct Clock {
    queued_ns: AtomicU64,
    ran_ns: AtomicU64,
    started: AtomicBool,
    /// The request's, if it is traced.
    pub span: Option<Span>,
    runs: Mutex<Vec<Arc<Run>>>,
}

impl Clock {
    /// Learns of a run that this request had a part in.
    pub(super) fn traced(&self, run: &Arc<Run>) {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(run));
    }

    /// A run has waited for so long and begins.
    pub(super) fn started(&self, queued: Duration) {
        self.queued_ns.fetch_add(nanoseconds(queued), Ordering::Relaxed);
        self.started.store(true, Ordering::Relaxed);
    }

    /// A run has ended.
    pub(super) fn ran(&self, time: Duration) {
        self.ran_ns.fetch_add(nanoseconds(time), Ordering::Relaxed);
    }

    /// Divides the time that passed while a request's runs waited and ran, some of them side by side.
    fn divide(&self, passed: Duration) -> (Duration, Duration) {
        let queued = self.queued_ns.load(Ordering::Relaxed) as f64;
        let ran = self.ran_ns.load(Ordering::Relaxed) as f64;
        let in_queue = match self.started.load(Ordering::Relaxed) {
            false => passed,
            // Given up while it ran.
            true if ran == 0.0 => passed.min(Duration::from_nanos(queued as u64)),
            true => passed.mul_f64(queued / (queued + ran)),
        };
        (in_queue, passed - in_queue)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The part of a request in which its runs wait and run; recorded when it ends, however that is.
pub(super) struct Running<'a> {
    record: &'a Record,
    since: Instant,
    /// What of that was spent on outputs that were there already.
    postprocess: Duration,
    pub clock: Arc<Clock>,
}

impl<'a> Running<'a> {
    pub(super) fn new(record: &'a Record) -> Self {
        let clock = Arc::new(Clock { span: record.span(), ..Clock::default() });
        Self { record, since: Instant::now(), postprocess: Duration::ZERO, clock }
    }

    /// Predictions were made of some outputs, while other runs went on or waited.
    pub(super) fn postprocessed(&mut self, time: Duration) {
        self.postprocess += time;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let (queued, ran) = self.clock.divide(self.since.elapsed().saturating_sub(self.postprocess));
        // One after the other, as if there had been one run: where they go on side by side, there is no other picture.
        let (began, ended) = (self.since + queued, self.since + queued + ran);
        self.record.add_since(Stage::Queue, self.since, queued);
        self.record.add_since(Stage::Inference, began, ran);
        self.record.add_since(Stage::Postprocess, ended, self.postprocess);
        if self.clock.span.is_some() {
            let runs = mem::take(&mut *self.clock.runs.lock().unwrap_or_else(PoisonError::into_inner));
            self.record.note(|facts| facts.runs.extend(runs));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_to_what_passed() {
        let ms = Duration::from_millis;
        let waiting = Clock::default();
        assert_eq!(waiting.divide(ms(5)), (ms(5), ms(0)));
        let running = Clock::default();
        running.started(ms(2));
        assert_eq!(running.divide(ms(5)), (ms(2), ms(3)));
        // Two runs side by side, each 1 ms in the queue and 3 ms at work.
        let done = Clock::default();
        for _ in 0..2 {
            done.started(ms(1));
            done.ran(ms(3));
        }
        assert_eq!(done.divide(ms(4)), (ms(1), ms(3)));
    }
}
