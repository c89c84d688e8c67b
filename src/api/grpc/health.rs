//! gRPC's health checks, for probes and balancers.

use std::sync::Arc;

use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tonic::{Code, Status};

use super::{
    call::{Answer, Question, streamed},
    frame,
    messages::health::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus},
    status,
    streams::{self, Health},
};
use crate::{
    api::{context::Context, deliver::held, health, state::ApiState},
    error::Error,
};

/// What can be asked about: the server itself, and its only service with a life of its own.
const SERVICES: [&str; 2] = ["", "inference.GRPCInferenceService"];

/// `Check`: as `/readyz`, which says more.
pub(in crate::api) async fn check(
    State(state): State<ApiState>,
    Question(request): Question<HealthCheckRequest>,
) -> Response {
    if !SERVICES.contains(&&*request.service) {
        return status::alone(&Status::new(Code::NotFound, "there is no such service"));
    }
    Answer(HealthCheckResponse { status: serving(health::is_ready(&state)).into() }).into_response()
}

/// `Watch`: until the time for a request is over, or the server is about to stop. Watchers come again.
pub(in crate::api) async fn watch(
    State(state): State<ApiState>,
    Extension(context): Extension<Arc<Context>>,
    Question(request): Question<HealthCheckRequest>,
) -> Response {
    let Some(place) = streams::place(&state.streams.watchers, context.client) else { return streams::full() };
    let known = SERVICES.contains(&&*request.service);
    let health = Health::watch(&state);
    let watcher = Watcher { health, known, until: context.deadline.into(), told: None, ended: false };
    let frames =
        stream::unfold(watcher, |mut watcher| async { Some((Ok::<_, Error>(watcher.next().await?), watcher)) });
    streamed(held(Body::new(StreamBody::new(frames)), place))
}

const fn serving(is_ready: bool) -> ServingStatus {
    if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// A caller that is told whenever the status changes.
struct Watcher {
    health: watch::Receiver<Health>,
    known: bool,
    until: Instant,
    told: Option<ServingStatus>,
    ended: bool,
}

impl Watcher {
    async fn next(&mut self) -> Option<Frame<Bytes>> {
        while !self.ended {
            let health = *self.health.borrow_and_update();
            let now = if self.known { serving(health.ready) } else { ServingStatus::ServiceUnknown };
            if self.told != Some(now) {
                self.told = Some(now);
                return Some(Frame::data(message(now)));
            }
            // It ends without a change when the time is over, or when nobody looks any more: the server drains.
            let changed = !health.draining && matches!(timeout_at(self.until, self.health.changed()).await, Ok(Ok(())));
            if !changed {
                self.ended = true;
                return Some(Frame::trailers(status::ok()));
            }
        }
        None
    }
}

fn message(status: ServingStatus) -> Bytes {
    let response = HealthCheckResponse { status: status.into() };
    let mut body = frame::begin(response.encoded_len());
    // Some bytes, in room that grows.
    let _ = response.encode(&mut body);
    let _ = frame::finish(&mut body);
    body.into()
}
