//! Ends the series of models and versions that are gone: names that are learnt from elsewhere would else stay for ever.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prometheus::{
    core::{Collector, MetricVec, MetricVecBuilder},
    proto::LabelPair,
};

use super::OTHER;

/// What is not served any more, and not remembered either.
#[derive(Debug, Default)]
pub struct Gone {
    /// Models, with all of their versions.
    pub models: BTreeSet<String>,
    /// Versions of models that go on.
    pub versions: BTreeSet<(String, String)>,
    /// The labels of versions that had others before, and go on.
    pub labels: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Gone {
    /// Whether there is nothing to end.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty() && self.versions.is_empty() && self.labels.is_empty()
    }

    /// Whether a series with these labels is to end.
    fn ends(&self, labels: &[LabelPair]) -> bool {
        let of = |name: &str| labels.iter().find(|label| label.name() == name).map(LabelPair::value);
        let Some(model) = of("model").filter(|model| *model != OTHER) else { return false };
        if self.models.contains(model) {
            return true;
        }
        let Some(version) = of("version") else { return false };
        let id = (model.to_owned(), version.to_owned());
        let other_label =
            |labels: &BTreeSet<String>| of("label").is_some_and(|label| label != OTHER && !labels.contains(label));
        self.versions.contains(&id) || self.labels.get(&id).is_some_and(other_label)
    }
}

/// Families whose series can end.
pub(super) trait Forget {
    /// Ends the series of what is gone. Looks at all series of the family: not for the way of a request.
    fn forget(&self, gone: &Gone);
}

impl<B: MetricVecBuilder + 'static> Forget for MetricVec<B> {
    fn forget(&self, gone: &Gone) {
        for family in self.collect() {
            for series in family.get_metric().iter().filter(|series| gone.ends(series.get_label())) {
                let labels: HashMap<&str, &str> =
                    series.get_label().iter().map(|label| (label.name(), label.value())).collect();
                let _ = self.remove(&labels);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn what_is_gone_leaves_no_series_and_takes_no_others_along() {
        let metrics = Metrics::new().unwrap();
        let text = || String::from_utf8(metrics.render().unwrap()).unwrap();
        let labels = ["a".to_owned(), "b".to_owned()];
        let provider = "onnxruntime-cpu";
        for (model, version) in [("gone", "1"), ("gone", "2"), ("stays", "1"), ("stays", "2"), ("relabelled", "1")] {
            let _ = metrics.model(model, version, provider, &labels);
        }
        metrics.queue.begin("gone");
        metrics.queue.workers("gone", 1);
        let before = text();
        let id = |model: &str, version: &str| (model.to_owned(), version.to_owned());
        metrics.forget(&Gone {
            models: ["gone".to_owned()].into(),
            versions: [id("stays", "2")].into(),
            labels: [(id("relabelled", "1"), ["b".to_owned()].into())].into(),
        });
        metrics.queue.forget(["gone".to_owned()]);
        let after = text();
        assert!(!after.contains("model=\"gone\""), "{after}");
        let ended = |line: &&str| {
            let of = |model: &str| line.contains(&format!("model=\"{model}\""));
            of("gone")
                || of("stays") && line.contains("version=\"2\"")
                || of("relabelled") && line.contains("label=\"a\"")
        };
        // Families without series have no lines at all.
        let series = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains("model=\""));
            lines.filter(|line| !ended(line)).map(str::to_owned).collect()
        };
        assert_eq!(series(&before), series(&after));
        assert_eq!(after.lines().filter(ended).count(), 0);
    }
}
