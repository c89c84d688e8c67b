//! The probes: live while the process can answer, ready when what is required is loaded and nobody asked it to stop.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{reject::Failure, state::ApiState};
use crate::{error::Error, registry::NotReady};

/// `GET /healthz`
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// Marks requests to the listener of those who look after the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator;

/// Whether `/readyz` is answered with 200.
pub(super) fn is_ready(state: &ApiState) -> bool {
    !state.lifecycle.is_draining() && !state.registry.not_ready().iter().any(|item| item.required)
}

/// `GET /readyz`: 200, with what is degraded; or 503 with the reasons. Where keys are asked for, which models there are is
/// not for everybody: the API's listener tells states without names then.
pub(super) async fn ready(State(state): State<ApiState>, operator: Option<Extension<Operator>>) -> Response {
    let mut missing = state.registry.not_ready();
    if state.keys.is_some() && operator.is_none() {
        missing.iter_mut().for_each(without_name);
    }
    let (required, degraded): (Vec<_>, Vec<_>) = missing.into_iter().partition(|item| item.required);
    let error = if state.lifecycle.is_draining() {
        Error::Draining
    } else if let [first, ..] = &required[..] {
        Error::ModelNotReady { model: first.model.clone(), reason: first.reason.clone() }
    } else {
        let lost = lost_parts(&state);
        let faulty = lost.is_some() || degraded.iter().any(NotReady::is_fault);
        let mut reasons = reasons(&degraded);
        reasons.extend(lost);
        let status = if faulty { "degraded" } else { "ready" };
        return Json(json!({"status": status, "reasons": reasons})).into_response();
    };
    let mut members = Map::new();
    members.insert("reasons".to_owned(), reasons(&[required, degraded].concat()).into());
    Failure { error: Arc::new(error), members, status: None }.into_response()
}

fn without_name(item: &mut NotReady) {
    item.model = "*".to_owned();
    let state = item.state.replace('_', " ");
    item.reason = format!("a model is {state}; the log, and server.metrics_listen, say which and why");
}

/// Parts without which predictions go on.
fn lost_parts(state: &ApiState) -> Option<Value> {
    let reason = state.cache.trouble()?;
    Some(json!({"part": "redis", "state": "lost", "reason": reason, "required": false}))
}

fn reasons(items: &[NotReady]) -> Vec<Value> {
    let reason = |item: &NotReady| json!({"model": item.model, "state": item.state, "reason": item.reason, "required": item.required});
    items.iter().map(reason).collect()
}
