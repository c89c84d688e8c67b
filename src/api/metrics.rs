//! `GET /metrics`: everything that is counted and measured, for Prometheus.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::{health, shared_text::SharedText, state::ApiState};
use crate::{error::Error, telemetry::metrics::CONTENT_TYPE};

/// Everything that is counted and measured, as Prometheus reads it
// Writing takes ten milliseconds, so it is done once for all who wait at the same time, and ten times a second at most.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "operation",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"))
)]
pub(super) async fn show(State(state): State<ApiState>) -> Result<Response, Error> {
    let this = state.clone();
    let renderings = &state.renderings;
    let text = renderings.metrics.get(&renderings.renderer, (), move |()| write(&this)).await?;
    Ok(text.answer(CONTENT_TYPE))
}

fn write(state: &ApiState) -> Result<Arc<SharedText>, Error> {
    state.cache.observe();
    if let Some(history) = &state.history {
        history.observe();
    }
    state.metrics.server.ready(health::is_ready(state));
    state.metrics.render().map(SharedText::passing).map_err(Error::internal)
}
