//! `GET /metrics`: everything that is counted and measured, for Prometheus.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{health, state::ApiState};
use crate::{error::Error, telemetry::metrics::CONTENT_TYPE};

/// Everything that is counted and measured, as Prometheus reads it
// Written away from the async threads: it takes a millisecond and more.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "operation",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"))
)]
pub(super) async fn show(State(state): State<ApiState>) -> Result<Response, Error> {
    state.cache.observe();
    if let Some(history) = &state.history {
        history.observe();
    }
    state.metrics.server.ready(health::is_ready(&state));
    let rendered = tokio::task::spawn_blocking(move || state.metrics.render()).await;
    let text = rendered.map_err(anyhow::Error::from).flatten().map_err(Error::internal)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
