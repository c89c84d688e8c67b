//! What the cache does, by tier.

use std::time::Duration;

use prometheus::{Counter, Histogram, IntCounter, IntGauge, IntGaugeVec};

use super::{family::Families, spread::Spread};
use crate::telemetry::labels::{CacheOperation, Label, Lookup, Tier};

/// What the cache does, by tier.
#[derive(Debug)]
pub struct CacheMetrics {
    /// By tier, then by result; found by every request, and so looked up once.
    lookups: Vec<Vec<Spread<IntCounter>>>,
    /// By tier, then by operation.
    operations: Vec<Vec<Spread<Histogram>>>,
    entries: IntGaugeVec,
    bytes: IntGaugeVec,
    evictions: Evictions,
    circuit_open: IntGaugeVec,
    /// By tier.
    saved: Vec<Spread<Counter>>,
    /// Answers that were not stored in Redis because too many waited to be.
    pub dropped_writes: IntCounter,
}

impl CacheMetrics {
    pub(super) fn new(families: Families<'_>) -> anyhow::Result<Self> {
        let lookups =
            families.counters("cache_lookups_total", "Looks into the cache, by item.", &["tier", "result"])?;
        let operations = families.latencies(
            "cache_operation_seconds",
            "Time of one operation on a tier.",
            &["tier", "operation"],
        )?;
        let saved = families.sums(
            "cache_saved_seconds_total",
            "Time that hits saved: what each had waited for its run and its turn when it was computed.",
            &["tier"],
        )?;
        let evictions =
            families.counters("cache_evictions_total", "Answers given up for their place or age.", &["tier"])?;
        // What Redis gives up, Redis itself tells.
        let new = Self {
            lookups: every(|tier| every(|result| lookups.with_label_values(&[tier, result]), Lookup::ALL), Tier::ALL),
            operations: every(
                |tier| every(|operation| operations.with_label_values(&[tier, operation]), CacheOperation::ALL),
                Tier::ALL,
            ),
            saved: every(|tier| saved.with_label_values(&[tier]), Tier::ALL),
            entries: families.gauges("cache_entries", "Answers that are kept.", &["tier"])?,
            bytes: families.gauges("cache_bytes", "What the kept answers take.", &["tier"])?,
            evictions: Evictions(evictions.with_label_values(&[Tier::Memory.as_str()])),
            circuit_open: families.gauges(
                "cache_circuit_open",
                "1 while a tier is left alone because it failed.",
                &["tier"],
            )?,
            dropped_writes: families
                .counter("cache_dropped_writes_total", "Answers not stored in Redis because too many waited to be.")?,
        };
        // What Redis holds, Redis itself tells.
        new.entries(Tier::Memory, 0, 0);
        new.circuit_open(Tier::Redis).set(0);
        Ok(new)
    }

    /// `items` were looked for in `tier`.
    pub fn looked_up(&self, tier: Tier, result: Lookup, items: usize) {
        if items > 0 {
            self.lookups[tier as usize][result as usize].here().inc_by(items as u64);
        }
    }

    /// An operation took so long, however it ended.
    pub fn operated(&self, tier: Tier, operation: CacheOperation, time: Duration) {
        self.operations[tier as usize][operation as usize].here().observe(time.as_secs_f64());
    }

    /// What `tier` holds.
    pub fn entries(&self, tier: Tier, entries: u64, bytes: u64) {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.entries.with_label_values(&[tier.as_str()]).set(signed(entries));
        self.bytes.with_label_values(&[tier.as_str()]).set(signed(bytes));
    }

    /// Counts what memory gives up for its place or its age.
    pub fn evictions(&self) -> Evictions {
        self.evictions.clone()
    }

    /// 1 while `tier` is left alone.
    pub fn circuit_open(&self, tier: Tier) -> IntGauge {
        self.circuit_open.with_label_values(&[tier.as_str()])
    }

    /// A hit spared this much computing.
    pub fn saved(&self, tier: Tier, time: Duration) {
        self.saved[tier as usize].here().inc_by(time.as_secs_f64());
    }
}

/// Counts the answers that memory gives up.
#[derive(Debug, Clone)]
pub struct Evictions(Spread<IntCounter>);

impl Evictions {
    /// One more.
    pub fn count(&self) {
        self.0.here().inc();
    }
}

/// What `make` makes of every word of a closed set, in its order.
fn every<L: Label, M>(make: impl Fn(&'static str) -> M, labels: &[L]) -> Vec<M> {
    labels.iter().map(|label| make(label.as_str())).collect()
}
