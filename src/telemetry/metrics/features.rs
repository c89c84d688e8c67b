//! Whether the numbers that callers send are those that a version was trained on: per feature the mean, and the shares
//! that are missing or outside of what was seen, over the last hour.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus::{GaugeVec, IntGaugeVec};

use super::{family::Families, spread};
use crate::telemetry::record::Served;

/// What is looked at.
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// The hour is kept in sums over so long each, so that one wild number is gone with its hour.
const STEP: Duration = Duration::from_secs(60);

/// What the mean of equal numbers may be off by, of itself.
const ROUNDING: f64 = 1e-9;

/// A version's first features are watched, and no more of them: each has a series of every gauge here.
pub const MOST_FEATURES: usize = 50;

/// A number of an input, as it was where the version was trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    /// What it is called.
    pub name: String,
    /// Its mean.
    pub mean: f64,
    /// Its standard deviation; 0 for one that was always the same.
    pub deviation: f64,
    /// The smallest that was seen.
    pub least: f64,
    /// The largest.
    pub greatest: f64,
    /// The share that was missing.
    pub missing: f64,
}

/// The features of one input, in the order in which they stand in each of its rows; further numbers are not watched.
#[derive(Debug)]
pub struct InputFeatures {
    /// The input's place among all.
    pub input: usize,
    /// What its rows begin with.
    pub features: Vec<Feature>,
    /// The place of the first among those of all inputs.
    first: usize,
}

#[derive(Debug)]
pub(super) struct FeatureFamilies {
    samples: IntGaugeVec,
    mean: GaugeVec,
    shift: GaugeVec,
    outside: GaugeVec,
    missing: GaugeVec,
    missing_before: GaugeVec,
    watched: Mutex<Vec<Watched>>,
}

/// What one version's rows are counted in: a part for each thread that holds connections, so that none waits for another.
#[derive(Debug, Clone)]
pub struct FeatureMetrics {
    inputs: Arc<[InputFeatures]>,
    parts: Arc<[Part]>,
}

/// Alone on its cache line, and on the one that is fetched with it. In the order of the features of all inputs.
#[derive(Debug)]
#[repr(align(128))]
struct Part(Mutex<Vec<Sums>>);

/// What is known of one feature.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sums {
    rows: u64,
    missing: u64,
    outside: u64,
    /// Of those that are not missing.
    sum: f64,
}

/// One version, and its last hour.
#[derive(Debug)]
struct Watched {
    served: Arc<Served>,
    metrics: FeatureMetrics,
    /// When the sums began that go on.
    since: Instant,
    /// What was before them, with the time when each ended; the oldest first.
    past: VecDeque<(Instant, Vec<Sums>)>,
}

/// Counts rows for as long as it is held, which should not be long.
#[derive(Debug)]
pub struct Counting<'a>(MutexGuard<'a, Vec<Sums>>);

impl FeatureFamilies {
    pub(super) fn new(families: Families<'_>) -> anyhow::Result<Self> {
        let gauges = |name, help| families.values(name, help, &["model", "version", "feature"]);
        Ok(Self {
            samples: families.gauges(
                "feature_samples",
                "Rows of the last hour's computed predictions, which the other metrics of a feature are about.",
                &["model", "version", "feature"],
            )?,
            mean: gauges("feature_mean", "Mean of a feature, in its own unit; NaN of nothing.")?,
            shift: gauges(
                "feature_shift",
                "Distance of a feature's mean from that of the training rows, in their standard deviations.",
            )?,
            outside: gauges(
                "feature_out_of_range_ratio",
                "Share of a feature's values that are below or above all of the training rows.",
            )?,
            missing: gauges("feature_missing_ratio", "Share of rows in which a feature is missing.")?,
            missing_before: gauges(
                "feature_training_missing_ratio",
                "Share of the training rows in which a feature is missing.",
            )?,
            watched: Mutex::default(),
        })
    }

    /// Watches a version's rows from now on.
    pub(super) fn watch(&self, served: &Arc<Served>, features: Vec<(usize, Vec<Feature>)>) -> FeatureMetrics {
        let metrics = FeatureMetrics::new(features);
        let (served, since) = (Arc::clone(served), Instant::now());
        let watched = Watched { served, metrics: metrics.clone(), since, past: VecDeque::new() };
        watched.tell(self);
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
        metrics
    }

    /// Brings the gauges up to date. Called at least once per minute, it looks at an hour; else at somewhat more.
    pub(super) fn observe(&self) {
        for watched in self.watched.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            watched.turn(Instant::now());
            watched.tell(self);
        }
    }
}

impl FeatureMetrics {
    fn new(features: Vec<(usize, Vec<Feature>)>) -> Self {
        let mut first = 0;
        let input = |(input, mut features): (usize, Vec<Feature>)| {
            features.truncate(MOST_FEATURES - first);
            first += features.len();
            InputFeatures { input, first: first - features.len(), features }
        };
        let inputs = features.into_iter().map(input).collect();
        let part = |_| Part(Mutex::new(vec![Sums::default(); first]));
        Self { inputs, parts: (0..spread::parts()).map(part).collect() }
    }

    /// The inputs that are watched.
    pub fn inputs(&self) -> &[InputFeatures] {
        &self.inputs
    }

    /// Begins to count rows.
    pub fn count(&self) -> Counting<'_> {
        Counting(self.parts[spread::part(self.parts.len())].lock())
    }

    fn features(&self) -> impl Iterator<Item = &Feature> {
        self.inputs.iter().flat_map(|input| &input.features)
    }

    /// All parts together; with `begin_anew`, each begins at zero again.
    fn sums(&self, begin_anew: bool) -> Vec<Sums> {
        let mut all = vec![Sums::default(); self.features().count()];
        for part in self.parts.iter() {
            let mut sums = part.lock();
            add(&mut all, &sums);
            if begin_anew {
                sums.fill(Sums::default());
            }
        }
        all
    }
}

impl Part {
    fn lock(&self) -> MutexGuard<'_, Vec<Sums>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counting<'_> {
    /// Counts one row of an input: the numbers that it begins with. NaN is one that is missing.
    pub fn row(&mut self, input: &InputFeatures, values: impl Iterator<Item = f64>) {
        let sums = self.0.get_mut(input.first..).unwrap_or_default();
        for ((feature, sums), value) in input.features.iter().zip(sums).zip(values) {
            sums.rows += 1;
            if value.is_nan() {
                sums.missing += 1;
            } else {
                sums.sum += value;
                sums.outside += u64::from(value < feature.least || value > feature.greatest);
            }
        }
    }
}

impl Watched {
    /// Puts away the sums that are a step old, and forgets what is older than the window.
    fn turn(&mut self, now: Instant) {
        if now.duration_since(self.since) >= STEP {
            self.past.push_back((now, self.metrics.sums(true)));
            self.since = now;
        }
        while self.past.front().is_some_and(|(ended, _)| now.duration_since(*ended) >= WINDOW) {
            self.past.pop_front();
        }
    }

    fn tell(&self, families: &FeatureFamilies) {
        let mut all = self.metrics.sums(false);
        self.past.iter().for_each(|(_, sums)| add(&mut all, sums));
        for (feature, sums) in self.metrics.features().zip(&all) {
            let own = [&*self.served.model, &*self.served.version, &*feature.name];
            let mean = sums.mean();
            families.samples.with_label_values(&own).set(i64::try_from(sums.rows).unwrap_or(i64::MAX));
            families.mean.with_label_values(&own).set(mean.unwrap_or(f64::NAN));
            families.shift.with_label_values(&own).set(mean.map_or(0.0, |mean| shift(feature, mean)));
            families.outside.with_label_values(&own).set(share(sums.outside, sums.rows - sums.missing));
            families.missing.with_label_values(&own).set(share(sums.missing, sums.rows));
            families.missing_before.with_label_values(&own).set(feature.missing);
        }
    }
}

impl Sums {
    #[expect(clippy::cast_precision_loss, reason = "2^53 rows are enough")]
    fn mean(self) -> Option<f64> {
        let known = self.rows - self.missing;
        (known > 0).then(|| self.sum / known as f64)
    }
}

fn add(all: &mut [Sums], more: &[Sums]) {
    for (all, more) in all.iter_mut().zip(more) {
        all.rows += more.rows;
        all.missing += more.missing;
        all.outside += more.outside;
        all.sum += more.sum;
    }
}

/// What was always the same has no deviation to measure by: there, any other mean is infinitely far.
fn shift(feature: &Feature, mean: f64) -> f64 {
    let distance = mean - feature.mean;
    let is_rounding = || (mean - feature.least).abs() <= ROUNDING * feature.least.abs();
    if feature.deviation == 0.0 && is_rounding() { 0.0 } else { distance / feature.deviation }
}

/// 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "2^53 rows are enough")]
fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(name: &str) -> Feature {
        Feature { name: name.to_owned(), mean: 1.0, deviation: 0.5, least: 0.0, greatest: 2.0, missing: 0.0 }
    }

    fn watched(features: Vec<(usize, Vec<Feature>)>) -> Watched {
        let served = Arc::new(Served { model: "m".into(), version: "1".into() });
        Watched { served, metrics: FeatureMetrics::new(features), since: Instant::now(), past: VecDeque::new() }
    }

    fn count(metrics: &FeatureMetrics, input: usize, row: &[f64]) {
        metrics.count().row(&metrics.inputs()[input], row.iter().copied());
    }

    #[test]
    fn each_feature_has_its_own_sums() {
        let metrics = FeatureMetrics::new(vec![(0, vec![feature("a"), feature("b")]), (3, vec![feature("c")])]);
        // The third number of the first input is not watched, and the second row ends before its second one.
        count(&metrics, 0, &[0.5, f64::NAN, 9.0]);
        count(&metrics, 0, &[-0.1]);
        count(&metrics, 1, &[7.0]);
        let sums = metrics.sums(false);
        assert_eq!(sums[0], Sums { rows: 2, missing: 0, outside: 1, sum: 0.4 });
        assert_eq!(sums[1], Sums { rows: 1, missing: 1, outside: 0, sum: 0.0 });
        assert_eq!(sums[2], Sums { rows: 1, missing: 0, outside: 1, sum: 7.0 });
        assert_eq!((sums[1].mean(), sums[2].mean()), (None, Some(7.0)));
    }

    #[test]
    fn only_the_first_features_are_kept() {
        let many = |count: usize| (0..count).map(|number| feature(&number.to_string())).collect::<Vec<_>>();
        let metrics = FeatureMetrics::new(vec![(0, many(30)), (1, many(30)), (2, many(30))]);
        let kept: Vec<usize> = metrics.inputs().iter().map(|input| input.features.len()).collect();
        assert_eq!((kept, metrics.sums(false).len()), (vec![30, 20, 0], MOST_FEATURES));
        count(&metrics, 2, &[1.0]);
    }

    #[test]
    fn only_the_last_hour_counts() {
        let mut watched = watched(vec![(0, vec![feature("a")])]);
        let start = watched.since;
        for minute in 1..=200 {
            count(&watched.metrics, 0, &[1.0]);
            watched.turn(start + STEP * minute);
        }
        assert_eq!((watched.past.len(), watched.metrics.sums(false)[0].rows), (60, 0));
    }

    #[test]
    fn a_mean_is_told_in_standard_deviations() {
        assert_eq!(
            (shift(&feature("a"), 2.0), shift(&feature("a"), 1.0), shift(&feature("a"), -1.0)),
            (2.0, 0.0, -4.0)
        );
        let tenth = f64::from(0.1_f32);
        let same = Feature { mean: 0.1, deviation: 0.0, least: tenth, greatest: tenth, ..feature("same") };
        assert_eq!((shift(&same, tenth * 3.0 / 3.0), shift(&same, 0.2)), (0.0, f64::INFINITY));
    }
}
