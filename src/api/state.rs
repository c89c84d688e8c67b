//! What the handlers share. Built in `app.rs`.

use std::{sync::Arc, time::Instant};

use super::room::Space;
use crate::{
    cache::Cache,
    config::{PredictConfig, ServerConfig},
    lifecycle::Lifecycle,
    predict::Predictor,
    registry::Registry,
    telemetry::metrics::Metrics,
};

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// The one path to a prediction.
    pub predictor: Predictor,
    /// Which models are live.
    pub registry: Arc<Registry>,
    /// Known answers.
    pub cache: Arc<Cache>,
    /// Whether the server is about to stop.
    pub lifecycle: Lifecycle,
    /// Timeouts and limits of HTTP.
    pub server: Arc<ServerConfig>,
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
    /// Limits of one prediction.
    pub predict: Arc<PredictConfig>,
    /// Room for the bytes of requests and answers.
    pub(super) space: Space,
    /// When the process began to serve.
    pub started: Instant,
}

impl ApiState {
    /// Puts together what the handlers need.
    pub fn new(
        registry: Arc<Registry>,
        cache: Arc<Cache>,
        lifecycle: Lifecycle,
        server: Arc<ServerConfig>,
        predict: PredictConfig,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            predictor: Predictor::new(Arc::clone(&registry), Arc::clone(&cache), Arc::clone(&metrics)),
            registry,
            cache,
            lifecycle,
            space: Space::new(server.bodies_limit.as_u64()),
            server,
            metrics,
            predict: Arc::new(predict),
            started: Instant::now(),
        }
    }
}
