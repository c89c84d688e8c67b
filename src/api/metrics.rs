//! `GET /metrics`: everything that is counted and measured, in Prometheus' text format.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::state::ApiState;
use crate::{error::Error, telemetry::metrics::CONTENT_TYPE};

/// `GET /metrics`
pub(super) async fn render(State(state): State<ApiState>) -> Result<Response, Error> {
    state.cache.observe();
    let text = state.metrics.render().map_err(Error::internal)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
