//! `ServerLive`, `ServerReady`, `ServerMetadata`: the server itself.

use axum::extract::State;

use super::{
    call::{Answer, Question},
    messages::inference::{
        ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest,
        ServerReadyResponse,
    },
};
use crate::api::{health, state::ApiState, v2};

/// `ServerLive`
pub(in crate::api) async fn live(_: Question<ServerLiveRequest>) -> Answer<ServerLiveResponse> {
    Answer(ServerLiveResponse { live: true })
}

/// `ServerReady`: as `/readyz`, which says more.
pub(in crate::api) async fn ready(
    State(state): State<ApiState>,
    _: Question<ServerReadyRequest>,
) -> Answer<ServerReadyResponse> {
    Answer(ServerReadyResponse { ready: health::is_ready(&state) })
}

/// `ServerMetadata`
pub(in crate::api) async fn metadata(_: Question<ServerMetadataRequest>) -> Answer<ServerMetadataResponse> {
    Answer(ServerMetadataResponse {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: v2::EXTENSIONS.map(str::to_owned).to_vec(),
    })
}
