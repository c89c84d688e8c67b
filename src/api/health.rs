//! The probes: live while the process can answer, ready when what is required is loaded and nobody asked it to stop.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, json};
use utoipa::ToSchema;

use super::{reject::Failure, state::ApiState};
use crate::{error::Error, registry::NotReady};

/// The process can answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Live {
    #[schema(example = "live")]
    status: &'static str,
}

/// What is required is there.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// `degraded` when something that is not required is out of order.
    #[schema(example = "ready", pattern = "^(ready|degraded)$")]
    status: &'static str,
    reasons: Vec<Reason>,
}

/// Something that is not there, or not yet.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reason {
    /// The model, with its version where one is meant; `*` where names are not for everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// The part of the server, where it is none of a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<&'static str>,
    #[schema(example = "loading")]
    state: &'static str,
    reason: String,
    /// Whether readiness waits for it.
    required: bool,
}

/// Whether the process can answer
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operation",
    responses((status = 200, description = "The process can answer", body = Live))
)]
pub(super) async fn live() -> Json<Live> {
    Json(Live { status: "live" })
}

/// Marks requests to the listener of those who look after the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator;

/// Whether `/readyz` is answered with 200.
pub(super) fn is_ready(state: &ApiState) -> bool {
    let broken = state.broker.as_ref().is_some_and(|broker| broker.trouble().is_some());
    !broken && !state.lifecycle.is_draining() && !state.registry.not_ready().iter().any(|item| item.required)
}

/// Whether what is required is loaded, and the server goes on
///
/// 200, with what is degraded; or 503 with the reasons. Where keys are asked for, which models there are is
/// not for everybody: the API's listener tells states without names then.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses((status = 200, description = "What is required is there", body = Ready))
)]
pub(super) async fn ready(State(state): State<ApiState>, operator: Option<Extension<Operator>>) -> Response {
    let mut missing = state.registry.not_ready();
    if state.keys.is_some() && operator.is_none() {
        missing.iter_mut().for_each(without_name);
    }
    let (required, degraded): (Vec<_>, Vec<_>) = missing.into_iter().partition(|item| item.required);
    let broken = state.broker.as_ref().and_then(|broker| broker.trouble());
    let error = if state.lifecycle.is_draining() {
        Error::Draining
    } else if let Some(trouble) = broken {
        Error::DependencyUnavailable(format!("the way between API servers and model workers is interrupted: {trouble}"))
    } else if let [first, ..] = &required[..] {
        Error::ModelNotReady { model: first.model.clone(), reason: first.reason.clone() }
    } else {
        let lost = lost_parts(&state, state.keys.is_none() || operator.is_some());
        let faulty = !lost.is_empty() || degraded.iter().any(NotReady::is_fault);
        let status = if faulty { "degraded" } else { "ready" };
        let reasons = degraded.into_iter().map(Reason::of).chain(lost).collect();
        return Json(Ready { status, reasons }).into_response();
    };
    let mut members = Map::new();
    let broken = broken.map(|trouble| Reason {
        model: None,
        part: Some("queue"),
        state: "lost",
        reason: trouble.to_string(),
        required: true,
    });
    let reasons: Vec<_> = required.into_iter().chain(degraded).map(Reason::of).chain(broken).collect();
    members.insert("reasons".to_owned(), json!(reasons));
    Failure { error: Arc::new(error), members, status: None }.into_response()
}

fn without_name(item: &mut NotReady) {
    item.model = "*".to_owned();
    let state = item.state.replace('_', " ");
    item.reason = format!("a model is {state}; the log, and server.metrics_listen, say which and why");
}

/// Parts without which predictions go on.
fn lost_parts(state: &ApiState, is_operator: bool) -> Vec<Reason> {
    let lost = |part: &'static str, state: &'static str, reason: String| Reason {
        model: None,
        part: Some(part),
        state,
        reason,
        required: false,
    };
    let redis = state.cache.trouble().map(|reason| lost("redis", "lost", reason));
    let history = state.history.iter().flat_map(|history| history.faults(is_operator));
    redis.into_iter().chain(history.map(|fault| lost("history", fault.state, fault.reason))).collect()
}

impl Reason {
    fn of(item: NotReady) -> Self {
        let NotReady { model, state, reason, required } = item;
        Self { model: Some(model), part: None, state, reason, required }
    }
}
