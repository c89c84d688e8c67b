//! What the handlers share. Built in `app.rs`.

use std::{sync::Arc, time::Instant};

use super::room::Space;
use crate::{
    config::{PredictConfig, ServerConfig},
    keys::KeyStore,
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
    /// Who may call; anyone when absent.
    pub keys: Option<Arc<KeyStore>>,
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
        keys: Option<Arc<KeyStore>>,
        lifecycle: Lifecycle,
        server: Arc<ServerConfig>,
        predict: PredictConfig,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            predictor: Predictor::new(Arc::clone(&registry)),
            registry,
            keys,
            lifecycle,
            space: Space::new(server.bodies_limit.as_u64()),
            server,
            metrics,
            predict: Arc::new(predict),
            started: Instant::now(),
        }
    }
}
