//! What the handlers share. Built in `app.rs`.

use std::{sync::Arc, time::Instant};

use tokio::sync::Semaphore;

use super::extract;
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
    /// What is left of the room for bodies, in KiB.
    pub(super) body_room: Arc<Semaphore>,
    /// When the process began to serve.
    pub started: Instant,
}

impl ApiState {
    /// Puts together what the handlers need.
    pub fn new(
        registry: Arc<Registry>,
        lifecycle: Lifecycle,
        server: Arc<ServerConfig>,
        predict: PredictConfig,
    ) -> Self {
        Self {
            predictor: Predictor::new(Arc::clone(&registry)),
            registry,
            lifecycle,
            body_room: extract::room(server.bodies_limit.as_u64()),
            server,
            predict: Arc::new(predict),
            started: Instant::now(),
        }
    }
}
