//! What the handlers share. Built in `app.rs`.

use std::{sync::Arc, time::Instant};

use crate::{
    config::{PredictConfig, ServerConfig},
    lifecycle::Lifecycle,
    predict::Predictor,
    registry::Registry,
};

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// The one path to a prediction.
    pub predictor: Predictor,
    /// Which models are live.
    pub registry: Arc<Registry>,
    /// Whether the server is about to stop.
    pub lifecycle: Lifecycle,
    /// Timeouts and limits of HTTP.
    pub server: Arc<ServerConfig>,
    /// Limits of one prediction.
    pub predict: Arc<PredictConfig>,
    /// When the process began to serve.
    pub started: Instant,
}
