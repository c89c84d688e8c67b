//! What models do, by version.

use std::{sync::Arc, time::Duration};

use prometheus::{GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{
    classes::{ClassFamilies, ClassMetrics},
    drift::{DriftMetrics, Reference},
    family::{Families, each},
    features::{Feature, FeatureFamilies, FeatureMetrics},
    gone::{Forget, Gone},
    outcomes::{FAILURES, Outcomes},
    spread::{Spread, SpreadVec},
};
use crate::telemetry::{
    labels::{Attempt, Label, Protocol, Release, Source},
    record::Served,
    statistics::Statistics,
};

/// Rows in one run.
const ROWS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

#[derive(Debug)]
pub(super) struct ModelFamilies {
    predictions: SpreadVec<IntCounterVec>,
    requests: SpreadVec<IntCounterVec>,
    nonfinite: SpreadVec<IntCounterVec>,
    inference_latency: SpreadVec<HistogramVec>,
    batch_size: SpreadVec<HistogramVec>,
    batches: SpreadVec<IntCounterVec>,
    batch_wait: SpreadVec<HistogramVec>,
    queue_depth: IntGaugeVec,
    queue_seconds: SpreadVec<HistogramVec>,
    classes: ClassFamilies,
    drift: DriftMetrics,
    features: FeatureFamilies,
    info: IntGaugeVec,
    load_seconds: GaugeVec,
    instances: IntGaugeVec,
    loads: SpreadVec<IntCounterVec>,
    failed: IntGauge,
}

/// A version that is served from now on.
#[derive(Debug)]
pub struct LoadedModel<'a> {
    /// Its model.
    pub model: &'a str,
    /// Its name.
    pub version: &'a str,
    /// What computes its answers.
    pub provider: &'a str,
    /// The hash of its files.
    pub digest: &'a str,
    /// How long it took to load, warm and verify it.
    pub load_time: Duration,
    /// Its sessions.
    pub instances: usize,
}

/// The metrics of one version, looked up once when it is loaded.
#[derive(Debug, Clone)]
pub struct ModelMetrics {
    /// Which version it is.
    pub served: Arc<Served>,
    /// How requests ended.
    pub outcomes: Outcomes,
    /// What they came to since the version was loaded.
    pub statistics: Arc<Statistics>,
    requests: Vec<Spread<IntCounter>>,
    nonfinite: Spread<IntCounter>,
    queue_depth: IntGauge,
    inference_latency: Spread<Histogram>,
    batch_size: Spread<Histogram>,
    batches: Vec<Spread<IntCounter>>,
    batch_wait: Spread<Histogram>,
    queue_seconds: Spread<Histogram>,
    classes: Option<ClassMetrics>,
    /// What the numbers of its rows are counted in, where it is known what they should be.
    pub features: Option<FeatureMetrics>,
}

impl ModelFamilies {
    pub(super) fn new(families: Families<'_>) -> anyhow::Result<Self> {
        let new = Self {
            predictions: families.counters(
                "predictions_total",
                "Items that were predicted, or refused with an error code.",
                &["model", "version", "outcome", "source"],
            )?,
            requests: families.counters(
                "model_requests_total",
                "Requests for predictions of a model, by the protocol that they were written in.",
                &["model", "protocol"],
            )?,
            nonfinite: families.counters(
                "nonfinite_outputs_total",
                "Predictions that held NaN or infinity, which JSON has no word for.",
                &["model", "version"],
            )?,
            inference_latency: families.latencies(
                "inference_latency_seconds",
                "Time of one run of a model.",
                &["model", "version", "provider"],
            )?,
            batch_size: families.histograms(
                "inference_batch_size",
                "Rows in one run of a model.",
                &["model"],
                &ROWS,
            )?,
            batches: families.counters(
                "inference_batches_total",
                "Runs of a model, by the reason for which they did not wait for more rows.",
                &["model", "reason"],
            )?,
            batch_wait: families.latencies(
                "inference_batch_wait_seconds",
                "Time that the oldest item of a run had waited when the run began.",
                &["model"],
            )?,
            queue_depth: families.gauges(
                "inference_queue_depth",
                "Requests' runs that wait for a session.",
                &["model"],
            )?,
            queue_seconds: families.latencies(
                "inference_queue_seconds",
                "Time that a request's run waited for a session.",
                &["model"],
            )?,
            classes: ClassFamilies::new(families)?,
            drift: DriftMetrics::new(families)?,
            features: FeatureFamilies::new(families)?,
            info: families.gauges(
                "model_info",
                "1 for every version that is served.",
                &["model", "version", "digest", "provider"],
            )?,
            load_seconds: families.values(
                "model_load_seconds",
                "Time that it took to load, warm and verify a version.",
                &["model", "version"],
            )?,
            instances: families.gauges(
                "model_instances",
                "Sessions of a version, each with an inference thread.",
                &["model", "version"],
            )?,
            failed: families.gauge(
                "models_failed",
                "Versions that are not served because they could not be loaded, and models with a broken manifest.",
            )?,
            loads: families.counters("model_loads_total", "Versions that were loaded.", &["result"])?,
        };
        each::<Attempt>(|result| drop(new.loads.with_label_values(&[result])));
        Ok(new)
    }

    pub(super) fn outcomes(&self, model: &str, version: &str) -> Outcomes {
        let counter = |outcome: &str, source: Source| {
            self.predictions.with_label_values(&[model, version, outcome, source.as_str()])
        };
        Outcomes {
            ok: Source::ALL.iter().map(|source| counter("ok", *source)).collect(),
            // What failed was not found anywhere.
            failed: FAILURES.iter().map(|code| (*code, counter(code.as_str(), Source::Computed))).collect(),
        }
    }

    pub(super) fn of(&self, model: &str, version: &str, provider: &'static str, labels: &[String]) -> ModelMetrics {
        ModelMetrics {
            served: Arc::new(Served { model: model.into(), version: version.into() }),
            outcomes: self.outcomes(model, version),
            statistics: Arc::default(),
            requests: Protocol::ALL
                .iter()
                .map(|protocol| self.requests.with_label_values(&[model, protocol.as_str()]))
                .collect(),
            nonfinite: self.nonfinite.with_label_values(&[model, version]),
            queue_depth: self.queue_depth.with_label_values(&[model]),
            inference_latency: self.inference_latency.with_label_values(&[model, version, provider]),
            batch_size: self.batch_size.with_label_values(&[model]),
            batches: Release::ALL
                .iter()
                .map(|reason| self.batches.with_label_values(&[model, reason.as_str()]))
                .collect(),
            batch_wait: self.batch_wait.with_label_values(&[model]),
            queue_seconds: self.queue_seconds.with_label_values(&[model]),
            classes: self.classes.of(model, version, labels),
            features: None,
        }
    }

    pub(super) fn loaded(
        &self,
        LoadedModel { model, version, provider, digest, load_time, instances }: &LoadedModel<'_>,
    ) {
        self.loads.here(&[Attempt::Ok.as_str()]).inc();
        self.info.with_label_values(&[model, version, digest, provider]).set(1);
        self.load_seconds.with_label_values(&[model, version]).set(load_time.as_secs_f64());
        self.instances.with_label_values(&[model, version]).set(i64::try_from(*instances).unwrap_or(i64::MAX));
    }

    pub(super) fn replaced(&self, labels: [&str; 4]) {
        // What was never begun cannot be ended, and need not be.
        let _ = self.info.remove_label_values(&labels);
    }

    pub(super) fn unloaded(&self, [model, version, digest, provider]: [&str; 4]) {
        self.replaced([model, version, digest, provider]);
        let _ = self.load_seconds.remove_label_values(&[model, version]);
        let _ = self.instances.remove_label_values(&[model, version]);
    }

    /// Ends all series of what is gone, but those of drift and features: they are begun for what this process loads alone.
    pub(super) fn forget(&self, gone: &Gone) {
        let counters = [&self.predictions, &self.requests, &self.nonfinite, &self.batches, &self.classes.predicted];
        counters.into_iter().for_each(|family| family.forget(gone));
        let histograms = [
            &self.inference_latency,
            &self.batch_size,
            &self.batch_wait,
            &self.queue_seconds,
            &self.classes.confidence,
        ];
        histograms.into_iter().for_each(|family| family.forget(gone));
        [&self.queue_depth, &self.info, &self.instances].into_iter().for_each(|family| family.forget(gone));
        self.load_seconds.forget(gone);
    }

    pub(super) fn failed_now(&self, versions: usize) {
        self.failed.set(i64::try_from(versions).unwrap_or(i64::MAX));
    }

    /// Watches how a version's answers differ from those where it was measured.
    pub(super) fn watch(&self, model: &str, version: &str, reference: Reference) {
        self.drift.watch(model, version, reference);
    }

    /// Watches how the numbers that a version is sent differ from those that it was trained on.
    pub(super) fn watch_features(&self, served: &Arc<Served>, features: Vec<(usize, Vec<Feature>)>) -> FeatureMetrics {
        self.features.watch(served, features)
    }

    /// Brings up to date what is no count.
    pub(super) fn observe(&self) {
        self.drift.observe(&self.classes);
        self.features.observe();
    }

    pub(super) fn failed(&self) {
        self.loads.here(&[Attempt::Failed.as_str()]).inc();
    }
}

impl ModelMetrics {
    /// The labels that have a series of their own.
    pub fn labels(&self) -> &[String] {
        self.classes.as_ref().map_or(&[], ClassMetrics::labels)
    }

    /// A request came for its predictions.
    pub fn asked(&self, protocol: Protocol) {
        if let Some(counter) = self.requests.get(protocol as usize) {
            counter.here().inc();
        }
    }

    /// A prediction held NaN or infinity.
    pub fn nonfinite(&self) {
        self.nonfinite.here().inc();
    }

    /// A prediction was computed that names the class at this place among the labels.
    pub fn predicted_class(&self, class: usize) {
        if let Some(classes) = &self.classes {
            classes.predicted(class);
        }
    }

    /// A prediction was computed whose most probable class has this probability.
    pub fn confident(&self, probability: f64) {
        if let Some(classes) = &self.classes {
            classes.confident(probability);
        }
    }

    /// What a request asked for waited so long for a session.
    pub fn waited(&self, time: Duration) {
        self.queue_seconds.here().observe(time.as_secs_f64());
    }

    /// A run begins, whose oldest item has waited so long.
    pub fn released(&self, reason: Release, oldest: Duration) {
        if let Some(counter) = self.batches.get(reason as usize) {
            counter.here().inc();
        }
        self.batch_wait.here().observe(oldest.as_secs_f64());
    }

    /// A run of so many rows took `time`.
    pub fn ran(&self, time: Duration, rows: usize) {
        self.inference_latency.here().observe(time.as_secs_f64());
        self.batch_size.here().observe(rows as f64);
        self.statistics.ran(time, rows);
    }
}

/// One run that waits for a session, for as long as this is held.
#[derive(Debug)]
pub struct WaitingRun(IntGauge);

impl ModelMetrics {
    /// A run begins to wait.
    pub fn waits(&self) -> WaitingRun {
        self.queue_depth.inc();
        WaitingRun(self.queue_depth.clone())
    }
}

impl Drop for WaitingRun {
    fn drop(&mut self) {
        self.0.dec();
    }
}
