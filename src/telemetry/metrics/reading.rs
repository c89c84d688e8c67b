//! What the metrics say at one moment, for those who do not speak Prometheus' format.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::proto::{Metric, MetricFamily, MetricType};

/// All metrics at one moment.
#[derive(Debug)]
pub struct Reading(pub(super) Vec<MetricFamily>);

/// How often a value was at most so large.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    /// Upper bounds of the buckets, ascending; above the last one is no bound.
    pub bounds: Vec<f64>,
    /// How many values were at most so large, per bound.
    pub cumulative: Vec<u64>,
    /// All values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

/// A label and the value that it must have.
type Wanted<'a> = (&'a str, &'a str);

impl Reading {
    /// The sum of all series of a counter or gauge that have these labels.
    pub fn sum(&self, name: &str, labels: &[Wanted<'_>]) -> f64 {
        let (kind, series) = self.series(name, labels);
        let value = |metric: &Metric| match kind {
            MetricType::COUNTER => metric.get_counter().get_value(),
            _ => metric.get_gauge().get_value(),
        };
        series.map(value).sum()
    }

    /// The same, of what is counted in whole numbers and is never below zero.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole and not negative")]
    pub fn count(&self, name: &str, labels: &[Wanted<'_>]) -> u64 {
        self.sum(name, labels) as u64
    }

    /// All series of a histogram that have these labels, added up.
    pub fn distribution(&self, name: &str, labels: &[Wanted<'_>]) -> Distribution {
        let mut all = Distribution::default();
        for histogram in self.series(name, labels).1.map(Metric::get_histogram) {
            let buckets = histogram.get_bucket();
            all.add(Distribution {
                bounds: buckets.iter().map(|bucket| bucket.upper_bound()).collect(),
                cumulative: buckets.iter().map(|bucket| bucket.cumulative_count()).collect(),
                count: histogram.get_sample_count(),
                sum: histogram.get_sample_sum(),
            });
        }
        all
    }

    /// The values of two labels that series of a metric have together, in order.
    pub fn pairs(&self, name: &str, first: &str, second: &str) -> BTreeSet<(String, String)> {
        let pair = |metric: &Metric| Some((label(metric, first)?.to_owned(), label(metric, second)?.to_owned()));
        self.series(name, &[]).1.filter_map(pair).collect()
    }

    /// The values of all series of a gauge that have these labels, by the value of one more.
    pub fn by(&self, name: &str, labels: &[Wanted<'_>], by: &str) -> BTreeMap<String, f64> {
        let value = |metric: &Metric| Some((label(metric, by)?.to_owned(), metric.get_gauge().get_value()));
        self.series(name, labels).1.filter_map(value).collect()
    }

    fn series<'a>(&'a self, name: &str, labels: &'a [Wanted<'_>]) -> (MetricType, impl Iterator<Item = &'a Metric>) {
        let family = self.0.iter().find(|family| family.name() == name);
        let has_all = |metric: &&Metric| labels.iter().all(|(name, value)| label(metric, name) == Some(*value));
        let kind = family.map_or(MetricType::UNTYPED, MetricFamily::get_field_type);
        (kind, family.map(MetricFamily::get_metric).unwrap_or_default().iter().filter(has_all))
    }
}

fn label<'a>(metric: &'a Metric, name: &str) -> Option<&'a str> {
    metric.get_label().iter().find(|label| label.name() == name).map(|label| label.value())
}

impl Distribution {
    /// Adds what was counted elsewhere in the same buckets.
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.cumulative.resize(other.bounds.len(), 0);
        for (sum, more) in self.cumulative.iter_mut().zip(other.cumulative) {
            *sum += more;
        }
        self.bounds = other.bounds;
    }

    /// The mean; none of nothing.
    #[expect(clippy::cast_precision_loss, reason = "2^53 values are enough")]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The value that a share of all values is at most, interpolated within its bucket as Prometheus' `histogram_quantile`
    /// does it. Above the last bound, that bound.
    #[expect(clippy::cast_precision_loss, reason = "2^53 values are enough")]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = share * self.count as f64;
        let Some(bucket) = self.cumulative.iter().position(|count| *count as f64 >= rank) else {
            return self.bounds.last().copied();
        };
        let below = |values: &[f64]| bucket.checked_sub(1).map_or(0.0, |index| values[index]);
        let before = bucket.checked_sub(1).map_or(0, |index| self.cumulative[index]);
        let (lower, upper) = (below(&self.bounds), self.bounds[bucket]);
        let within = (self.cumulative[bucket] - before) as f64;
        Some(if within > 0.0 { lower + (upper - lower) * (rank - before as f64) / within } else { upper })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let distribution =
            Distribution { bounds: vec![1.0, 2.0, 4.0], cumulative: vec![10, 10, 18], count: 20, sum: 40.0 };
        // histogram_quantile over these buckets and +Inf at 20.
        for (share, expected) in [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.7, 3.0), (0.9, 4.0), (0.99, 4.0)] {
            assert_eq!(distribution.quantile(share), Some(expected), "{share}");
        }
        assert_eq!(distribution.mean(), Some(2.0));
        assert_eq!((Distribution::default().quantile(0.5), Distribution::default().mean()), (None, None));
    }
}
