//! The way from API servers to model workers, seen from both of its ends.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{
    family::{Families, each},
    gone::{Forget, Gone},
    spread::SpreadVec,
};
use crate::telemetry::labels::{Asked, Entries, Label, LeftOut};

/// API servers whose entries shared a claim.
const REPLICAS: [f64; 6] = [1.0, 2.0, 3.0, 4.0, 8.0, 16.0];

/// What an API server sees of the workers, and a worker of its entries.
#[derive(Debug)]
pub struct QueueMetrics {
    asked: SpreadVec<IntCounterVec>,
    waiting: IntGaugeVec,
    oldest: IntGaugeVec,
    pending: IntGauge,
    workers: IntGaugeVec,
    left_out: IntGaugeVec,
    late: IntCounter,
    dead: IntGauge,
    away: IntGauge,
    entries: SpreadVec<IntCounterVec>,
    held: IntGaugeVec,
    replicas: SpreadVec<HistogramVec>,
    delay: SpreadVec<HistogramVec>,
}

impl QueueMetrics {
    pub(super) fn new(families: Families<'_>) -> anyhow::Result<Self> {
        let new = Self {
            asked: families.counters(
                "queue_requests_total",
                "Questions to model workers, by how they ended.",
                &["model", "result"],
            )?,
            waiting: families.gauges(
                "queue_entries",
                "Entries for a model that wait for a worker or are held by one, of all API servers.",
                &["model"],
            )?,
            oldest: families.gauges(
                "queue_oldest_entry_milliseconds",
                "Age of the oldest of these, in milliseconds.",
                &["model"],
            )?,
            pending: families
                .gauge("queue_pending_requests", "Questions of this server that wait for their answer.")?,
            workers: families.gauges("queue_workers", "Live workers that serve a model.", &["model"])?,
            left_out: families.gauges(
                "queue_left_out",
                "What Redis says of workers and is not followed: it is beyond the bounds, or cannot be read.",
                &["what"],
            )?,
            late: families.counter("queue_late_answers_total", "Answers that nobody waited for any more.")?,
            dead: families.gauge("queue_dead_letters", "Entries that were given up and are kept.")?,
            away: families.gauge("queue_redis_away", "1 while the Redis of the queue is left alone.")?,
            entries: families.counters(
                "worker_entries_total",
                "Entries that this worker took, and what became of them.",
                &["model", "event"],
            )?,
            held: families.gauges("worker_held_entries", "Entries that this worker holds.", &["model"])?,
            replicas: families.histograms(
                "worker_batch_replicas",
                "API servers whose entries were run together.",
                &["model"],
                &REPLICAS,
            )?,
            delay: families.latencies(
                "worker_entry_delay_seconds",
                "Age of an entry when this worker took it, by the clock of Redis.",
                &["model"],
            )?,
        };
        each::<LeftOut>(|what| drop(new.left_out.with_label_values(&[what])));
        Ok(new)
    }

    /// A model is asked for through the queue: its series begin.
    pub fn begin(&self, model: &str) {
        each::<Asked>(|result| drop(self.asked.with_label_values(&[model, result])));
    }

    /// These models are neither served nor remembered any more: their series end.
    pub fn forget(&self, models: impl IntoIterator<Item = String>) {
        let gone = Gone { models: models.into_iter().collect(), ..Gone::default() };
        if gone.is_empty() {
            return;
        }
        self.asked.forget(&gone);
        [&self.waiting, &self.oldest, &self.workers].into_iter().for_each(|family| family.forget(&gone));
    }

    /// So many of what Redis says are left out.
    pub fn left_out(&self, what: LeftOut, count: usize) {
        self.left_out.with_label_values(&[what.as_str()]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A model is served by this worker: its series begin.
    pub fn begin_worker(&self, model: &str) {
        each::<Entries>(|event| drop(self.entries.with_label_values(&[model, event])));
        drop(self.held.with_label_values(&[model]));
    }

    /// A question ended.
    pub fn asked(&self, model: &str, result: Asked) {
        self.asked.here(&[model, result.as_str()]).inc();
    }

    /// How many entries for a model there are, and the age of the oldest.
    pub fn entries(&self, model: &str, entries: u64, oldest: Duration) {
        self.waiting.with_label_values(&[model]).set(signed(entries));
        self.oldest.with_label_values(&[model]).set(i64::try_from(oldest.as_millis()).unwrap_or(i64::MAX));
    }

    /// So many questions of this server wait.
    pub fn pending(&self, questions: usize) {
        self.pending.set(i64::try_from(questions).unwrap_or(i64::MAX));
    }

    /// So many live workers serve a model.
    pub fn workers(&self, model: &str, workers: usize) {
        self.workers.with_label_values(&[model]).set(i64::try_from(workers).unwrap_or(i64::MAX));
    }

    /// An answer came that nobody waits for.
    pub fn late(&self) {
        self.late.inc();
    }

    /// So many entries were given up and are kept.
    pub fn dead(&self, letters: u64) {
        self.dead.set(signed(letters));
    }

    /// Whether the Redis of the queue is left alone.
    pub fn away(&self, away: bool) {
        self.away.set(away.into());
    }

    /// This became of an entry that this worker took.
    pub fn entry(&self, model: &str, event: Entries) {
        self.entries.here(&[model, event.as_str()]).inc();
    }

    /// This worker holds so many entries of a model.
    pub fn held(&self, model: &str, entries: usize) {
        self.held.with_label_values(&[model]).set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// Entries of so many API servers are run together.
    pub fn batch(&self, model: &str, replicas: usize) {
        self.replicas.here(&[model]).observe(replicas as f64);
    }

    /// An entry was so old when this worker took it.
    pub fn delay(&self, model: &str, age: Duration) {
        self.delay.here(&[model]).observe(age.as_secs_f64());
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
