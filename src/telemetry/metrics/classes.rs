//! What classifiers answer: which class it is, and how sure they are.

use std::sync::Arc;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::{
    OTHER,
    family::Families,
    spread::{Spread, SpreadVec},
};

/// Probabilities, a tenth in each.
pub(super) const TENTHS: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// A model's first labels have a series each; those that follow share [`OTHER`].
const MOST_LABELS: usize = 100;

/// Longer ones share it, too: a label is a word, and every reading of the metrics repeats it.
const MAX_LABEL_BYTES: usize = 256;

#[derive(Debug)]
pub(super) struct ClassFamilies {
    pub confidence: SpreadVec<HistogramVec>,
    pub predicted: SpreadVec<IntCounterVec>,
}

/// The series of one version, looked up once. A model that is no classifier has none.
#[derive(Debug, Clone)]
pub(super) struct ClassMetrics {
    confidence: Spread<Histogram>,
    /// Those that have a series of their own.
    labels: Arc<[String]>,
    /// In the order of the labels.
    predicted: Vec<Spread<IntCounter>>,
    others: Option<Spread<IntCounter>>,
}

impl ClassFamilies {
    pub(super) fn new(families: Families<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            confidence: families.histograms(
                "prediction_confidence",
                "Probability of the most probable class, of predictions that were computed.",
                &["model", "version"],
                &TENTHS,
            )?,
            predicted: families.counters(
                "predicted_classes_total",
                "Classes that were predicted, of predictions that were computed.",
                &["model", "version", "label"],
            )?,
        })
    }

    pub(super) fn of(&self, model: &str, version: &str, labels: &[String]) -> Option<ClassMetrics> {
        if labels.is_empty() {
            return None;
        }
        let predicted = |label: &str| self.predicted.with_label_values(&[model, version, label]);
        let word = |label: &String| if label.len() > MAX_LABEL_BYTES { OTHER.to_owned() } else { label.clone() };
        let words: Arc<[String]> = labels.iter().take(MOST_LABELS).map(word).collect();
        Some(ClassMetrics {
            confidence: self.confidence.with_label_values(&[model, version]),
            predicted: words.iter().map(|label| predicted(label)).collect(),
            labels: words,
            others: (labels.len() > MOST_LABELS).then(|| predicted(OTHER)),
        })
    }
}

impl ClassMetrics {
    pub(super) fn labels(&self) -> &[String] {
        &self.labels
    }

    pub(super) fn predicted(&self, class: usize) {
        if let Some(counter) = self.predicted.get(class).or(self.others.as_ref()) {
            counter.here().inc();
        }
    }

    pub(super) fn confident(&self, probability: f64) {
        self.confidence.here().observe(probability);
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn labels_beyond_the_most_share_a_series() {
        let metrics = Metrics::new().unwrap();
        let labels: Vec<String> = (0..150).map(|n| format!("class {n}")).collect();
        let model = metrics.model("many", "1", "onnxruntime-cpu", &labels);
        [3, 99, 100, 149].into_iter().for_each(|class| model.predicted_class(class));
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        let of = |label: &str| format!("predicted_classes_total{{label=\"{label}\",model=\"many\",version=\"1\"}}");
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("predicted_classes_total")).collect();
        assert_eq!(lines.len(), 101);
        for (label, count) in [("class 3", 1), ("class 4", 0), ("class 99", 1), ("other", 2)] {
            assert!(lines.contains(&&*format!("{} {count}", of(label))), "{label}: {lines:#?}");
        }
    }
}
