//! `GET /v2` and `GET /v2/health/…`: the server itself, in the forms that clients of this protocol parse.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, json};
use utoipa::ToSchema;

use super::EXTENSIONS;
use crate::{
    api::{health, reject::Failure, state::ApiState},
    error::Error,
};

/// `GET /v2`
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ServerMetadata {
    name: &'static str,
    version: &'static str,
    extensions: &'static [&'static str],
}

/// `GET /v2/health/live`
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServerLive)]
pub(in crate::api) struct Live {
    live: bool,
}

/// `GET /v2/health/ready`
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServerReady)]
pub(in crate::api) struct Ready {
    ready: bool,
}

/// What this server is, and which extensions of the protocol it knows
#[utoipa::path(
    get,
    path = "/v2",
    operation_id = "server_metadata",
    tag = "open inference protocol",
    responses((status = 200, description = "OK", body = ServerMetadata))
)]
pub(in crate::api) async fn metadata() -> Json<ServerMetadata> {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    Json(ServerMetadata { name, version, extensions: &EXTENSIONS })
}

/// Whether the process can answer
#[utoipa::path(
    get,
    path = "/v2/health/live",
    operation_id = "server_live",
    tag = "open inference protocol",
    responses((status = 200, description = "OK", body = Live))
)]
pub(in crate::api) async fn live() -> Json<Live> {
    Json(Live { live: true })
}

/// Whether what is required is loaded, and the server goes on
#[utoipa::path(
    get,
    path = "/v2/health/ready",
    operation_id = "server_ready",
    tag = "open inference protocol",
    responses((status = 200, description = "OK", body = Ready))
)]
pub(in crate::api) async fn ready(State(state): State<ApiState>) -> Response {
    if health::is_ready(&state) {
        return Json(Ready { ready: true }).into_response();
    }
    let error = match state.lifecycle.is_draining() {
        true => Error::Draining,
        false => {
            let reason = "something that is required is not loaded; /readyz says what".to_owned();
            Error::ModelNotReady { model: "*".to_owned(), reason }
        }
    };
    let members = Map::from_iter([("ready".to_owned(), json!(false))]);
    Failure { error: Arc::new(error), members, status: None }.into_response()
}
