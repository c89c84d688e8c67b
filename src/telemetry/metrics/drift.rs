//! Whether a classifier answers as it did on the data that it was measured with: the population stability index of the
//! classes that it names, and of how sure it is, over the last hour.
//!
//! Nothing is counted for it: it is the difference of what [`classes`](super::classes) counts anyway.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::{GaugeVec, IntGaugeVec, core::Collector};

use super::{
    classes::{ClassFamilies, TENTHS},
    family::Families,
    reading::Reading,
};

/// What is looked at.
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// How often the counts are kept, for the window's beginning.
const STEP: Duration = Duration::from_secs(60);

/// Below this, an index says more about chance than about the callers.
const FEWEST: u64 = 200;

/// Shares are never taken for less: one answer of a kind that was not seen before is no catastrophe.
const SMALLEST_SHARE: f64 = 1e-4;

/// How a version answered where it was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// How often each label was predicted.
    pub labels: Vec<(String, u64)>,
    /// How often the most probable label had a probability within each tenth.
    pub confidence: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct DriftMetrics {
    index: GaugeVec,
    samples: IntGaugeVec,
    watched: Mutex<Vec<Watched>>,
}

/// One version, and what it has answered so far.
#[derive(Debug)]
struct Watched {
    model: String,
    version: String,
    reference: Reference,
    /// The oldest first; one per step of the window and one more.
    past: VecDeque<(Instant, Counts)>,
}

/// Since the start: labels in the order of the reference, and tenths.
#[derive(Debug, Clone, Default, PartialEq)]
struct Counts {
    labels: Vec<u64>,
    confidence: Vec<u64>,
}

impl DriftMetrics {
    pub(super) fn new(families: Families<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            index: families.values(
                "prediction_drift",
                "Population stability index of the last hour's computed predictions against the held-out ones: 0 is alike, above 0.25 is another population.",
                &["model", "version", "of"],
            )?,
            samples: families.gauges(
                "prediction_drift_samples",
                "Predictions that prediction_drift looks at; below 200 it is 0.",
                &["model", "version"],
            )?,
            watched: Mutex::default(),
        })
    }

    /// Watches a version from now on.
    pub(super) fn watch(&self, model: &str, version: &str, reference: Reference) {
        let nothing =
            Counts { labels: vec![0; reference.labels.len()], confidence: vec![0; reference.confidence.len()] };
        let mut watched = Watched {
            model: model.to_owned(),
            version: version.to_owned(),
            reference,
            past: VecDeque::from([(Instant::now(), nothing)]),
        };
        watched.tell(self, &Counts::default());
        let mut all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // Loaded anew.
        all.retain(|other| (&*other.model, &*other.version) != (model, version));
        all.push(watched);
    }

    /// Brings the gauges up to date. Called at least once per minute, it looks at an hour; else at somewhat more.
    pub(super) fn observe(&self, classes: &ClassFamilies) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.is_empty() {
            return;
        }
        let reading = Reading([classes.confidence.collect(), classes.predicted.collect()].concat());
        let now = Instant::now();
        for watched in watched.iter_mut() {
            let counts = watched.count(&reading);
            watched.remember(now, &counts);
            watched.tell(self, &counts);
        }
    }
}

impl Watched {
    fn count(&self, reading: &Reading) -> Counts {
        let own = [("model", &*self.model), ("version", &*self.version)];
        let label =
            |(label, _): &(String, u64)| reading.count("predicted_classes_total", &[own[0], own[1], ("label", label)]);
        let confidence = reading.distribution("prediction_confidence", &own);
        let mut below = 0;
        let tenth = |cumulative: &u64| *cumulative - std::mem::replace(&mut below, *cumulative);
        Counts {
            labels: self.reference.labels.iter().map(label).collect(),
            confidence: confidence.cumulative.iter().map(tenth).collect(),
        }
    }

    /// Keeps the counts of this step, and forgets what is older than the window, up to its beginning.
    fn remember(&mut self, now: Instant, counts: &Counts) {
        if self.past.back().is_none_or(|(since, _)| now.duration_since(*since) >= STEP) {
            self.past.push_back((now, counts.clone()));
        }
        while self.past.get(1).is_some_and(|(since, _)| now.duration_since(*since) >= WINDOW) {
            self.past.pop_front();
        }
    }

    fn tell(&mut self, metrics: &DriftMetrics, counts: &Counts) {
        let nothing = Counts::default();
        let before = self.past.front().map_or(&nothing, |(_, counts)| counts);
        let since = |now: &[u64], before: &[u64]| -> Vec<u64> {
            now.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect()
        };
        let (labels, confidence) =
            (since(&counts.labels, &before.labels), since(&counts.confidence, &before.confidence));
        let samples: u64 = confidence.iter().sum();
        let expected: Vec<u64> = self.reference.labels.iter().map(|(_, count)| *count).collect();
        let own = [&*self.model, &*self.version];
        metrics.samples.with_label_values(&own).set(i64::try_from(samples).unwrap_or(i64::MAX));
        for (of, expected, seen) in
            [("class", &expected, &labels), ("confidence", &self.reference.confidence, &confidence)]
        {
            let index = if samples < FEWEST { 0.0 } else { stability_index(expected, seen) };
            metrics.index.with_label_values(&[own[0], own[1], of]).set(index);
        }
    }
}

/// The population stability index: the sum of (seen - expected) ln(seen / expected) over the shares of all kinds.
#[expect(clippy::cast_precision_loss, reason = "2^53 predictions are enough")]
fn stability_index(expected: &[u64], seen: &[u64]) -> f64 {
    let shares = |counts: &[u64]| -> Vec<f64> {
        let all = counts.iter().sum::<u64>().max(1) as f64;
        counts.iter().map(|count| (*count as f64 / all).max(SMALLEST_SHARE)).collect()
    };
    shares(expected)
        .into_iter()
        .zip(shares(seen))
        .map(|(expected, seen)| (seen - expected) * (seen / expected).ln())
        .sum()
}

impl Reference {
    /// Reads it out of a version's held-out figures, where it is; `labels` are the version's. Whatever does not fit them is
    /// none.
    pub fn of(figures: &serde_json::Value, labels: &[String]) -> Option<Self> {
        let predictions = figures.get("predictions")?;
        let count = |label: &String| Some((label.clone(), predictions.get("labels")?.get(label)?.as_u64()?));
        let confidence = predictions.get("confidence")?.as_array()?.iter().map(serde_json::Value::as_u64);
        let new = Self {
            labels: labels.iter().map(count).collect::<Option<_>>()?,
            confidence: confidence.collect::<Option<_>>()?,
        };
        let complete = new.confidence.len() == TENTHS.len() && new.confidence.iter().sum::<u64>() > 0;
        (complete && !new.labels.is_empty()).then_some(new)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_index_is_the_textbooks() {
        // By hand: (0.5 - 0.8) ln(0.5 / 0.8) + (0.5 - 0.2) ln(0.5 / 0.2)
        assert!((stability_index(&[80, 20], &[500, 500]) - 0.415_888).abs() < 1e-6);
        assert_eq!(stability_index(&[80, 20], &[8, 2]), 0.0);
        assert!(stability_index(&[80, 20], &[0, 10]) > 5.0);
        assert!(stability_index(&[0, 20], &[0, 10]).abs() < 1e-12);
    }

    #[test]
    fn a_reference_fits_its_labels_or_is_none() {
        let labels = ["no".to_owned(), "yes".to_owned()];
        let tenths = [0, 0, 0, 0, 0, 1, 2, 3, 4, 5];
        let figures = |labels: serde_json::Value, tenths: &[u64]| json!({"predictions": {"labels": labels, "confidence": tenths}});
        let found = Reference::of(&figures(json!({"yes": 10, "no": 5}), &tenths), &labels).unwrap();
        assert_eq!(found.labels, [("no".to_owned(), 5), ("yes".to_owned(), 10)]);
        assert_eq!(found.confidence, tenths);
        for figures in [
            json!({}),
            figures(json!({"yes": 10}), &tenths),
            figures(json!({"yes": 10, "no": -5}), &tenths),
            figures(json!({"yes": 10, "no": 5}), &tenths[1..]),
            figures(json!({"yes": 10, "no": 5}), &[0; 10]),
        ] {
            assert_eq!(Reference::of(&figures, &labels), None, "{figures}");
        }
    }

    #[test]
    fn only_the_last_hour_counts() {
        let reference = Reference { labels: vec![("a".into(), 1)], confidence: vec![1; 10] };
        let mut watched = Watched { model: "m".into(), version: "1".into(), reference, past: VecDeque::new() };
        let start = Instant::now();
        let counts = |n: u64| Counts { labels: vec![n], confidence: vec![n; 10] };
        for minute in 0..200 {
            watched.remember(start + STEP * minute, &counts(minute.into()));
        }
        assert_eq!((watched.past.len(), watched.past.front().unwrap().1.clone()), (61, counts(139)));
    }
}
