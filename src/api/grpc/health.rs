//! gRPC's health checks, for probes and balancers.

use std::{sync::Arc, time::Duration};

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
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status};

use super::{
    call::{Answer, Question, streamed},
    frame,
    messages::health::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus},
    status,
};
use crate::{
    api::{context::Context, health, state::ApiState},
    error::Error,
};

/// What can be asked about: the server itself, and its only service with a life of its own.
const SERVICES: [&str; 2] = ["", "inference.GRPCInferenceService"];

/// How often a watcher's status is looked at.
const TICK: Duration = Duration::from_millis(200);

/// `Check`: as `/readyz`, which says more.
pub(in crate::api) async fn check(
    State(state): State<ApiState>,
    Question(request): Question<HealthCheckRequest>,
) -> Response {
    if !SERVICES.contains(&&*request.service) {
        return status::alone(&Status::new(Code::NotFound, "there is no such service"));
    }
    Answer(HealthCheckResponse { status: serving(&state).into() }).into_response()
}

/// `Watch`: until the time for a request is over, or the server is about to stop. Watchers come again.
pub(in crate::api) async fn watch(
    State(state): State<ApiState>,
    Extension(context): Extension<Arc<Context>>,
    Question(request): Question<HealthCheckRequest>,
) -> Response {
    let known = SERVICES.contains(&&*request.service);
    let watcher = Watcher { state, known, until: context.deadline.into(), told: None, ended: false };
    let frames =
        stream::unfold(watcher, |mut watcher| async { Some((Ok::<_, Error>(watcher.next().await?), watcher)) });
    streamed(Body::new(StreamBody::new(frames)))
}

fn serving(state: &ApiState) -> ServingStatus {
    if health::is_ready(state) { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// Who is told whenever the status changes.
struct Watcher {
    state: ApiState,
    known: bool,
    until: Instant,
    told: Option<ServingStatus>,
    ended: bool,
}

impl Watcher {
    async fn next(&mut self) -> Option<Frame<Bytes>> {
        while !self.ended {
            let now = if self.known { serving(&self.state) } else { ServingStatus::ServiceUnknown };
            if self.told != Some(now) {
                self.told = Some(now);
                return Some(Frame::data(message(now)));
            }
            let time = Instant::now();
            if time >= self.until || self.state.lifecycle.is_draining() {
                self.ended = true;
                return Some(Frame::trailers(status::ok()));
            }
            sleep_until(self.until.min(time + TICK)).await;
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
