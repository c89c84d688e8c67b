//! gRPC's reflection, in both of its versions: tools ask which services and messages there are.

use std::{convert::Infallible, sync::LazyLock, time::Instant};

use axum::{
    body::Body,
    extract::{Request, State},
    http,
    response::Response,
};
use futures_util::StreamExt;
use tonic_reflection::server::{Builder, Error as ReflectionError};
use tower::{ServiceExt, util::BoxCloneSyncService};

use super::{
    call::check,
    messages::DESCRIPTORS,
    streams::{self, Health},
};
use crate::{
    api::{context::Context, deliver::held, state::ApiState},
    error::Error,
};

/// Questions are names.
const MOST_QUESTION_BYTES: usize = 16 * 1024;

type Reflection = BoxCloneSyncService<Request, http::Response<tonic::body::Body>, Infallible>;

/// Made of what is built in, once.
static V1: LazyLock<Result<Reflection, ReflectionError>> = LazyLock::new(|| {
    let service = builder().build_v1()?.max_decoding_message_size(MOST_QUESTION_BYTES);
    Ok(BoxCloneSyncService::new(service))
});
static V1_ALPHA: LazyLock<Result<Reflection, ReflectionError>> = LazyLock::new(|| {
    let service = builder().build_v1alpha()?.max_decoding_message_size(MOST_QUESTION_BYTES);
    Ok(BoxCloneSyncService::new(service))
});

fn builder() -> Builder<'static> {
    Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS)
}

/// `ServerReflectionInfo` of version 1.
pub(in crate::api) async fn v1(State(state): State<ApiState>, request: Request) -> Result<Response, Error> {
    answer(&V1, &state, request).await
}

/// `ServerReflectionInfo` of the version before it, which most tools still ask.
pub(in crate::api) async fn v1alpha(State(state): State<ApiState>, request: Request) -> Result<Response, Error> {
    answer(&V1_ALPHA, &state, request).await
}

/// Questions are answered as they come, for as long as a body may take to arrive; a server that is about to stop waits for
/// none.
async fn answer(
    service: &Result<Reflection, ReflectionError>,
    state: &ApiState,
    request: Request,
) -> Result<Response, Error> {
    check(&request)?;
    let service = service.as_ref().map_err(|error| Error::internal(anyhow::anyhow!("{error}")))?.clone();
    let context = Context::of(request.extensions())?;
    let until = (Instant::now() + state.server.body_timeout).min(context.deadline);
    let Some(place) = streams::place(&state.streams.reflections, context.client) else { return Ok(streams::full()) };
    let mut health = Health::watch(state);
    let over = async move {
        // Nobody looks any more once the server drains.
        let drains = async { drop(health.wait_for(|health| health.draining).await) };
        let _ = tokio::time::timeout_at(until.into(), drains).await;
    };
    let request = request.map(|body| Body::from_stream(body.into_data_stream().take_until(over)));
    let Ok(response) = service.oneshot(request).await;
    Ok(response.map(|body| held(Body::new(body), place)))
}
