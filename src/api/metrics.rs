//! `GET /metrics`, for Prometheus.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::state::ApiState;
use crate::{error::Error, telemetry::metrics::CONTENT_TYPE};

/// Everything that is counted and measured.
pub(super) async fn scrape(State(state): State<ApiState>) -> Result<Response, Error> {
    let text = state.metrics.render().map_err(Error::internal)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
