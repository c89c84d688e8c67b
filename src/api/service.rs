//! `GET /`: what this is, and where to go from here.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::state::ApiState;
use crate::registry::ModelEntry;

/// Name, version, uptime and links; and the models, unless callers must show a key: this page asks for none, and what is
/// served is not for strangers.
pub(super) async fn describe(State(state): State<ApiState>) -> Json<Value> {
    let mut document = json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "revision": option_env!("GLASSBOX_REVISION"),
        "uptime_seconds": state.started.elapsed().as_secs(),
    });
    if state.keys.is_none() {
        document["default_model"] = json!(state.registry.default_model().map(ToString::to_string));
        document["models"] = models(&state);
    }
    document["links"] = json!({
        "predict": "/v1/predict",
        "predict_batch": "/v1/predict_batch",
        "models": "/v1/models",
        "stats": "/v1/stats",
        "debug_requests": "/v1/debug/requests",
        "live": "/healthz",
        "ready": "/readyz",
    });
    if state.docs.enabled {
        document["links"]["console"] = json!("/console");
    }
    Json(document)
}

fn models(state: &ApiState) -> Value {
    let model = |(name, entry): (_, &ModelEntry)| {
        json!({
            "name": name,
            "default_version": entry.default_version.as_ref().map(ToString::to_string),
            "state": entry.state(),
        })
    };
    state.registry.snapshot().models.iter().map(|(name, entry)| model((name.as_str(), entry))).collect()
}
