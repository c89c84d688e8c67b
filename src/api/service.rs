//! `GET /`: what this is, and where to go from here.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::state::ApiState;
use crate::registry::ModelEntry;

/// Name, version, uptime, models and links.
pub(super) async fn describe(State(state): State<ApiState>) -> Json<Value> {
    let snapshot = state.registry.snapshot();
    let model = |(name, entry): (_, &ModelEntry)| {
        json!({
            "name": name,
            "default_version": entry.default_version.as_ref().map(ToString::to_string),
            "state": entry.state(),
        })
    };
    let models: Vec<_> = snapshot.models.iter().map(|(name, entry)| model((name.as_str(), entry))).collect();
    Json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "revision": option_env!("GLASSBOX_REVISION"),
        "uptime_seconds": state.started.elapsed().as_secs(),
        "default_model": state.registry.default_model().map(ToString::to_string),
        "models": models,
        "links": {
            "predict": "/v1/predict",
            "predict_batch": "/v1/predict_batch",
            "models": "/v1/models",
            "live": "/healthz",
            "ready": "/readyz",
        },
    }))
}
