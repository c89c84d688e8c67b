//! Metrics in parts, one for each thread that holds connections, added up when they are read. Threads that count on the
//! same cache line wait for each other at every request, twenty times and more.

use std::{collections::HashMap, sync::Arc};

use prometheus::{
    core::{Collector, Desc, MetricVec, MetricVecBuilder},
    proto,
};

use super::gone::{Forget, Gone};
use crate::telemetry::threads;

/// Further threads share parts.
const MOST_PARTS: usize = 16;

/// A part for each thread that the machine runs at once, and one for all other threads.
pub(super) fn parts() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MOST_PARTS) + 1
}

/// This thread's place among `parts`. The first is for threads that hold no connections.
pub(super) fn part(parts: usize) -> usize {
    threads::number().map_or(0, |number| number + 1) % parts
}

/// One series in its parts.
#[derive(Debug)]
pub(super) struct Spread<M>(Arc<[M]>);

// Not derived: that would ask it of the metric.
impl<M> Clone for Spread<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Spread<M> {
    /// This thread's part: to add to, not to read.
    pub(super) fn here(&self) -> &M {
        &self.0[part(self.0.len())]
    }
}

/// Series by their labels, as the library has them.
pub(super) trait Series: Collector {
    /// One of them.
    type One;
    fn one(&self, labels: &[&str]) -> Self::One;
    fn remove(&self, labels: &[&str]);
}

impl<B: MetricVecBuilder + 'static> Series for MetricVec<B> {
    type One = B::M;

    fn one(&self, labels: &[&str]) -> B::M {
        self.with_label_values(labels)
    }

    fn remove(&self, labels: &[&str]) {
        let _ = self.remove_label_values(labels);
    }
}

/// Series by their labels, in their parts.
#[derive(Debug)]
pub(super) struct SpreadVec<V>(Arc<[V]>);

impl<V> Clone for SpreadVec<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V: Series> SpreadVec<V> {
    /// As many parts as there are.
    pub(super) fn new(make: impl Fn() -> prometheus::Result<V>) -> prometheus::Result<Self> {
        (0..parts()).map(|_| make()).collect::<Result<_, _>>().map(Self)
    }

    /// Begins a series at zero, or finds it.
    pub(super) fn with_label_values(&self, labels: &[&str]) -> Spread<V::One> {
        Spread(self.0.iter().map(|part| part.one(labels)).collect())
    }

    /// This thread's part of a series, begun where it was not.
    pub(super) fn here(&self, labels: &[&str]) -> V::One {
        self.0[part(self.0.len())].one(labels)
    }

    /// Ends a series.
    pub(super) fn remove(&self, labels: &[&str]) {
        self.0.iter().for_each(|part| part.remove(labels));
    }
}

impl<V: Forget> Forget for SpreadVec<V> {
    fn forget(&self, gone: &Gone) {
        self.0.iter().for_each(|part| part.forget(gone));
    }
}

impl<V: Series> Collector for SpreadVec<V> {
    fn desc(&self) -> Vec<&Desc> {
        self.0[0].desc()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let parts = self.0.iter().flat_map(Collector::collect);
        parts.reduce(merge).into_iter().collect()
    }
}

/// Adds the series of `part` to those of `sum`.
fn merge(mut sum: proto::MetricFamily, mut part: proto::MetricFamily) -> proto::MetricFamily {
    let kind = sum.get_field_type();
    let place = |(place, series): (usize, &proto::Metric)| (labels(series), place);
    let places: HashMap<_, _> = sum.get_metric().iter().enumerate().map(place).collect();
    for series in part.take_metric() {
        match places.get(&labels(&series)) {
            Some(place) => add(kind, &mut sum.mut_metric()[*place], &series),
            // In a part that has begun it, and another that has not yet.
            None => sum.mut_metric().push(series),
        }
    }
    sum
}

fn labels(series: &proto::Metric) -> Vec<String> {
    series.get_label().iter().map(|label| label.value().to_owned()).collect()
}

fn add(kind: proto::MetricType, sum: &mut proto::Metric, part: &proto::Metric) {
    match kind {
        proto::MetricType::COUNTER => {
            let mut counter = sum.get_counter().clone();
            counter.set_value(counter.get_value() + part.get_counter().get_value());
            sum.set_counter(counter);
        }
        proto::MetricType::GAUGE => {
            let mut gauge = sum.get_gauge().clone();
            gauge.set_value(gauge.get_value() + part.get_gauge().get_value());
            sum.set_gauge(gauge);
        }
        proto::MetricType::HISTOGRAM => {
            let (mut histogram, part) = (sum.get_histogram().clone(), part.get_histogram());
            histogram.set_sample_count(histogram.get_sample_count() + part.get_sample_count());
            histogram.set_sample_sum(histogram.get_sample_sum() + part.get_sample_sum());
            let mut buckets = histogram.get_bucket().to_vec();
            for (bucket, part) in buckets.iter_mut().zip(part.get_bucket()) {
                bucket.set_cumulative_count(bucket.cumulative_count() + part.cumulative_count());
            }
            histogram.set_bucket(buckets);
            sum.set_histogram(histogram);
        }
        // None is made here.
        proto::MetricType::SUMMARY | proto::MetricType::UNTYPED => {}
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

    use super::*;

    #[test]
    fn what_threads_count_apart_is_told_as_one() {
        let counters = SpreadVec::new(|| IntCounterVec::new(Opts::new("c", "c"), &["a"])).unwrap();
        let gauges = SpreadVec::new(|| IntGaugeVec::new(Opts::new("g", "g"), &[])).unwrap();
        let histogram = || HistogramVec::new(HistogramOpts::new("h", "h").buckets(vec![1.0, 2.0]), &["a"]);
        let histograms = SpreadVec::new(histogram).unwrap();
        let (counter, gauge, histogram) =
            (counters.with_label_values(&["x"]), gauges.with_label_values(&[]), histograms.with_label_values(&["x"]));
        std::thread::scope(|scope| {
            for number in 0..40 {
                let (counter, counters, gauge, histogram) = (&counter, &counters, &gauge, &histogram);
                scope.spawn(move || {
                    threads::number_this(number);
                    counter.here().inc();
                    counters.here(&["y"]).inc_by(2);
                    gauge.here().inc();
                    histogram.here().observe(0.5 + (number % 3) as f64);
                });
            }
        });
        // Ends on another thread than it began.
        gauge.here().sub(39);
        let registry = Registry::new();
        registry.register(Box::new(counters.clone())).unwrap();
        registry.register(Box::new(gauges)).unwrap();
        registry.register(Box::new(histograms)).unwrap();
        let text = || {
            let mut text = Vec::new();
            TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        for line in [
            r#"c{a="x"} 40"#,
            r#"c{a="y"} 80"#,
            "g 1",
            r#"h_bucket{a="x",le="1"} 14"#,
            r#"h_bucket{a="x",le="2"} 27"#,
            r#"h_bucket{a="x",le="+Inf"} 40"#,
            r#"h_sum{a="x"} 59"#,
            r#"h_count{a="x"} 40"#,
        ] {
            assert_eq!(text().lines().filter(|other| *other == line).count(), 1, "{line}\n{}", text());
        }
        counters.remove(&["x"]);
        assert!(!text().contains(r#"c{a="x"}"#));
    }
}
