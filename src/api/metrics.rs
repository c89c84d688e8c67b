//! `GET /metrics`: everything that is counted and measured, for Prometheus.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{health, state::ApiState};
use crate::{error::Error, telemetry::metrics::CONTENT_TYPE};

/// Written away from the async threads: it takes a millisecond and more.
pub(super) async fn show(State(state): State<ApiState>) -> Result<Response, Error> {
    state.cache.observe();
    state.metrics.server.ready(health::is_ready(&state));
    let rendered = tokio::task::spawn_blocking(move || state.metrics.render()).await;
    let text = rendered.map_err(anyhow::Error::from).flatten().map_err(Error::internal)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
