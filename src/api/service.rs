//! `GET /`: what this is, and where to go from here.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::state::ApiState;
use crate::{model::ModelName, registry::ModelEntry};

/// What this is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Service {
    #[schema(example = "glassbox")]
    name: &'static str,
    version: &'static str,
    /// The sources that the binary was built from, where they are known.
    revision: Option<&'static str>,
    uptime_seconds: u64,
    /// The model that answers who names none; only where callers need no key.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_model: Option<String>,
    /// What is served; only where callers need no key.
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<Vec<ServedModel>>,
    links: Links,
}

/// One model, in a line.
#[derive(Debug, Serialize, ToSchema)]
struct ServedModel {
    name: String,
    default_version: Option<String>,
    #[schema(example = "ready")]
    state: &'static str,
}

/// Where to go from here.
#[derive(Debug, Serialize, ToSchema)]
struct Links {
    predict: &'static str,
    predict_batch: &'static str,
    models: &'static str,
    stats: &'static str,
    debug_requests: &'static str,
    live: &'static str,
    ready: &'static str,
    // Absent where `docs.enabled` is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    console: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    openapi: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    docs: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redoc: Option<&'static str>,
}

/// What this is
///
/// Name, version, uptime and links; and the models, unless callers must show a key: this page asks for none, and what is
/// served is not for strangers.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "service",
    tag = "operation",
    responses((status = 200, description = "The service", body = Service))
)]
pub(super) async fn describe(State(state): State<ApiState>) -> Json<Service> {
    let for_everybody = state.keys.is_none();
    let page = |path| state.docs.enabled.then_some(path);
    let default_model = state.registry.default_model().filter(|_| for_everybody);
    Json(Service {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("GLASSBOX_REVISION"),
        uptime_seconds: state.started.elapsed().as_secs(),
        default_model: default_model.map(ToString::to_string),
        models: for_everybody.then(|| models(&state)),
        links: Links {
            predict: "/v1/predict",
            predict_batch: "/v1/predict_batch",
            models: "/v1/models",
            stats: "/v1/stats",
            debug_requests: "/v1/debug/requests",
            live: "/healthz",
            ready: "/readyz",
            console: page("/console"),
            openapi: page("/openapi.json"),
            docs: page("/docs"),
            redoc: page("/redoc"),
        },
    })
}

fn models(state: &ApiState) -> Vec<ServedModel> {
    let model = |(name, entry): (&ModelName, &ModelEntry)| ServedModel {
        name: name.to_string(),
        default_version: entry.default_version.as_ref().map(ToString::to_string),
        state: entry.state(),
    };
    state.registry.snapshot().models.iter().map(model).collect()
}
