//! All routes. What happens to every request is in `layers.rs`.

mod access_log;
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
        .route("/readyz", get(health::ready));
    // Where there is a second listener, metrics are answered there alone.
    let routes = match state.server.metrics_listen {
        Some(_) => routes,
        None => routes.route("/metrics", get(metrics::scrape)),
    };
    finish(routes, state)
}

/// What the second listener answers, without a key: for those who look after the server.
pub fn probes(state: ApiState) -> Router {
    let routes = Router::new()
        .route("/metrics", get(metrics::scrape))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready));
    finish(routes, state)
}

fn finish(routes: Router<ApiState>, state: ApiState) -> Router {
    let routes =
        routes.fallback(async || Error::NotFound).method_not_allowed_fallback(async || Error::MethodNotAllowed);
    layers::common(routes, &state).with_state(state)
}
