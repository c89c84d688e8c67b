//! Counts what predictions say, as far as a metric can hold it: numbers that JSON has no word for, classes, confidences.

use crate::{
    model::{Classes, Prediction},
    telemetry::metrics::ModelMetrics,
};

/// Counts a prediction that was computed.
pub(super) fn count(metrics: &ModelMetrics, prediction: &Prediction) {
    if !prediction.is_finite() {
        metrics.nonfinite();
    }
    match prediction {
        Prediction::Classification(classes) => {
            if let Some((class, _)) = classes.most_probable() {
                metrics.predicted_class(class);
            }
            confidence(metrics, classes);
        }
        Prediction::MultiLabel(labels) => {
            labels.named_classes().for_each(|class| metrics.predicted_class(class));
            confidence(metrics, &labels.classes);
        }
        Prediction::Value(_) | Prediction::Named(_) => {}
    }
}

fn confidence(metrics: &ModelMetrics, classes: &Classes) {
    if let Some((_, probability)) = classes.most_probable() {
        metrics.confident(probability.into());
    }
}
