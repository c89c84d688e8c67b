//! Makes metrics and registers them, in one call each.

use prometheus::{
    Counter, CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

use super::spread::{Spread, SpreadVec};
use crate::telemetry::labels::Label;

/// Seconds: from 50 µs, where small models answer, to 30 s, where requests time out.
pub(super) const LATENCY: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];

/// Registers what it makes.
#[derive(Clone, Copy)]
pub(super) struct Families<'a>(pub &'a Registry);

impl Families<'_> {
    fn register<M: Collector + Clone + 'static>(self, metric: prometheus::Result<M>) -> anyhow::Result<M> {
        let metric = metric?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn counter(self, name: &str, help: &str) -> anyhow::Result<IntCounter> {
        self.register(IntCounter::new(name, help))
    }

    pub(super) fn counters(self, name: &str, help: &str, labels: &[&str]) -> anyhow::Result<SpreadVec<IntCounterVec>> {
        self.register(SpreadVec::new(|| IntCounterVec::new(Opts::new(name, help), labels)))
    }

    /// For amounts that are no whole numbers, as seconds are.
    pub(super) fn sums(self, name: &str, help: &str, labels: &[&str]) -> anyhow::Result<SpreadVec<CounterVec>> {
        self.register(SpreadVec::new(|| CounterVec::new(Opts::new(name, help), labels)))
    }

    /// One number that is set now and then.
    pub(super) fn gauge(self, name: &str, help: &str) -> anyhow::Result<IntGauge> {
        self.register(IntGauge::new(name, help))
    }

    /// One amount that is added to now and then.
    pub(super) fn sum(self, name: &str, help: &str) -> anyhow::Result<Counter> {
        self.register(Counter::new(name, help))
    }

    /// For what is counted up and down, by any thread.
    pub(super) fn level(self, name: &str, help: &str) -> anyhow::Result<Spread<IntGauge>> {
        let levels = self.register(SpreadVec::new(|| IntGaugeVec::new(Opts::new(name, help), &[])))?;
        Ok(levels.with_label_values(&[]))
    }

    pub(super) fn gauges(self, name: &str, help: &str, labels: &[&str]) -> anyhow::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn values(self, name: &str, help: &str, labels: &[&str]) -> anyhow::Result<GaugeVec> {
        self.register(GaugeVec::new(Opts::new(name, help), labels))
    }

    /// Of seconds.
    pub(super) fn latencies(self, name: &str, help: &str, labels: &[&str]) -> anyhow::Result<SpreadVec<HistogramVec>> {
        self.histograms(name, help, labels, &LATENCY)
    }

    pub(super) fn histograms(
        self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> anyhow::Result<SpreadVec<HistogramVec>> {
        let options = || HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(SpreadVec::new(|| HistogramVec::new(options(), labels)))
    }
}

/// Calls `make` with every word of a closed set.
pub(super) fn each<L: Label>(mut make: impl FnMut(&'static str)) {
    L::ALL.iter().for_each(|label| make(label.as_str()));
}
