//! Every metric, in one struct with a registry of its own. Only this folder names `prometheus`.
//!
//! Labels are bounded by construction: routes, loaded models, configured keys and plans, and the enums of
//! [`labels`](super::labels). Series of closed sets exist at zero from the start, so that a rate over them is never
//! missing and nothing that callers send makes a new one.

mod cache;
mod callers;
mod classes;
mod drift;
mod family;
mod features;
mod gone;
mod history;
mod http;
mod machine;
mod models;
mod outcomes;
mod queue;
mod reading;
mod server;
mod spread;

use prometheus::{Encoder, Registry, TextEncoder};

pub use self::{
    cache::{CacheMetrics, Evictions},
    callers::CallerMetrics,
    drift::Reference,
    features::{Counting, Feature, FeatureMetrics, InputFeatures, MOST_FEATURES},
    gone::Gone,
    history::HistoryMetrics,
    http::{HttpMetrics, RouteMetrics},
    machine::MachineMetrics,
    models::{LoadedModel, ModelMetrics, WaitingRun},
    outcomes::Outcomes,
    queue::QueueMetrics,
    reading::{Distribution, Reading},
    server::ServerMetrics,
};
use self::{family::Families, models::ModelFamilies};

/// The word for everything that is not in a label's set.
pub const OTHER: &str = "other";

/// The format that [`Metrics::render`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is counted and measured.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests and their stages.
    pub http: HttpMetrics,
    /// Keys, quotas and who was not let in.
    pub callers: CallerMetrics,
    /// What the cache does.
    pub cache: CacheMetrics,
    /// Rows of the history.
    pub history: HistoryMetrics,
    /// The way to model workers.
    pub queue: QueueMetrics,
    /// The process itself: its version, its log, its certificate.
    pub server: ServerMetrics,
    /// What the process runs on.
    pub machine: MachineMetrics,
    /// How requests ended that named no model which is served.
    pub unknown_model: Outcomes,
    models: ModelFamilies,
}

impl Metrics {
    /// All metrics, at zero.
    ///
    /// # Errors
    /// When two of them have one name, which is a mistake in this folder.
    pub fn new() -> anyhow::Result<Self> {
        let registry = Registry::new();
        let families = Families(&registry);
        let models = ModelFamilies::new(families)?;
        Ok(Self {
            http: HttpMetrics::new(families)?,
            callers: CallerMetrics::new(families)?,
            cache: CacheMetrics::new(families)?,
            history: HistoryMetrics::new(families)?,
            queue: QueueMetrics::new(families)?,
            server: ServerMetrics::new(families)?,
            machine: MachineMetrics::new(families)?,
            unknown_model: models.outcomes(OTHER, OTHER),
            models,
            registry,
        })
    }

    /// The metrics of one version. Only what is loaded gets any. `labels` are a classifier's; others have none.
    pub fn model(&self, model: &str, version: &str, provider: &'static str, labels: &[String]) -> ModelMetrics {
        self.models.of(model, version, provider, labels)
    }

    /// A version is served from now on.
    pub fn model_loaded(&self, loaded: &LoadedModel<'_>) {
        self.models.loaded(loaded);
    }

    /// How a version's answers differ from `reference` is measured from now on.
    pub fn watch_drift(&self, model: &str, version: &str, reference: Reference) {
        self.models.watch(model, version, reference);
    }

    /// How the numbers that a version is sent differ from those that it was trained on is measured from now on. `features`
    /// are those of each input that has some, by its place among all.
    pub fn watch_features(&self, model: &mut ModelMetrics, features: Vec<(usize, Vec<Feature>)>) {
        model.features = Some(self.models.watch_features(&model.served, features));
    }

    /// Brings up to date what is measured over time; to be called once per minute.
    pub fn tick(&self) {
        self.models.observe();
    }

    /// A version is not served any more.
    pub fn model_unloaded(&self, model: &str, version: &str, digest: &str, provider: &str) {
        self.models.unloaded([model, version, digest, provider]);
    }

    /// Ends all series of models and versions that are gone. None of them may be served while this goes on.
    pub fn forget(&self, gone: &Gone) {
        // Looking for what is to end collects all series.
        if !gone.is_empty() {
            self.models.forget(gone);
        }
    }

    /// A version is served from other files than before.
    pub fn model_replaced(&self, model: &str, version: &str, digest: &str, provider: &str) {
        self.models.replaced([model, version, digest, provider]);
    }

    /// So many versions cannot be served now.
    pub fn models_failed(&self, versions: usize) {
        self.models.failed_now(versions);
    }

    /// A version cannot be served.
    pub fn model_failed(&self) {
        self.models.failed();
    }

    /// What all of them say now.
    pub fn read(&self) -> Reading {
        self.server.observe();
        self.machine.observe();
        self.models.observe();
        Reading(self.registry.gather())
    }

    /// All of them, in Prometheus' text format.
    ///
    /// # Errors
    /// When a metric cannot be written, which is a mistake in this folder.
    pub fn render(&self) -> anyhow::Result<Vec<u8>> {
        self.server.observe();
        self.machine.observe();
        self.models.observe();
        let mut text = Vec::with_capacity(64 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
