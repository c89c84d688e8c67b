//! All routes. What happens to every request is in `layers.rs`.

mod access_log;
mod cache_headers;
mod explain;
mod extract;
mod health;
mod layers;
mod metrics;
mod reject;
mod room;
mod service;
mod state;
mod v1;

use axum::{
    Router,
    routing::{get, post},
};

pub use state::ApiState;

use crate::error::Error;

/// Everything that is answered over HTTP.
pub fn router(state: ApiState) -> Router {
    let routes = Router::new()
        .route("/", get(service::describe))
        .route("/v1/predict", post(v1::predict::predict))
        .route("/v1/predict_batch", post(v1::predict::predict_batch))
        .route("/v1/models", get(v1::models::list))
        .route("/v1/models/{model}", get(v1::models::model))
        .route("/v1/models/{model}/versions/{version}", get(v1::models::version))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::render))
        .fallback(async || Error::NotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed);
    layers::common(routes, &state).with_state(state)
}
