//! `GET /v1/debug/requests`: the slowest requests and the failed ones, with the times of their stages. Never a payload.

use std::time::Duration;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    api::state::ApiState,
    error::{Error, Violation},
    telemetry::{
        labels::Label,
        millis,
        recorder::{Seen, Wanted},
    },
};

/// What a caller wants to see.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Filter {
    model: Option<String>,
    code: Option<String>,
    min_latency_ms: Option<f64>,
    request_id: Option<String>,
    limit: Option<usize>,
}

/// As many of each list as are shown when nobody says otherwise.
const USUAL: usize = 50;

/// Both lists, filtered.
pub(in crate::api) async fn requests(
    State(state): State<ApiState>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(filter) = filter.map_err(|error| {
        Error::malformed("", "invalid_query", format!("the query cannot be read: {}", error.body_text()))
    })?;
    let least = Duration::try_from_secs_f64(filter.min_latency_ms.unwrap_or_default() / 1e3).map_err(|_| {
        let detail = "'min_latency_ms' is a number of milliseconds, 0 or more";
        Error::Malformed(vec![Violation::new("", "invalid_query", detail)])
    })?;
    let wanted = Wanted {
        model: filter.model.as_deref(),
        code: filter.code.as_deref(),
        least,
        request_id: filter.request_id.as_deref(),
    };
    let list = |mut seen: Vec<_>| {
        seen.truncate(filter.limit.unwrap_or(USUAL));
        seen.iter().map(|seen: &std::sync::Arc<Seen>| show(seen)).collect::<Vec<_>>()
    };
    let (slowest, failed) = (list(state.recorder.slowest(&wanted)), list(state.recorder.failed(&wanted)));
    Ok(Json(json!({"slowest": slowest, "failed": failed})))
}

fn show(seen: &Seen) -> Value {
    let facts = &seen.facts;
    let mut stages: Map<String, Value> =
        facts.timings.stages().map(|(stage, time)| (stage.as_str().to_owned(), json!(millis(time)))).collect();
    stages.insert("other".to_owned(), json!(millis(facts.timings.other())));
    json!({
        "time": Timestamp::try_from(seen.time).ok().map(|time| format!("{time:.3}")),
        "request_id": &*seen.request_id,
        "trace_id": facts.trace_id.as_deref(),
        "key_id": facts.key_id.as_deref(),
        "client": facts.client.map(|address| address.to_string()),
        "method": seen.method,
        "route": &*seen.route,
        "status_code": seen.status,
        "error_code": seen.error_code,
        "latency_ms": millis(seen.latency()),
        "stages": stages,
        "model": facts.model.as_ref().map(|served| &*served.model),
        "model_version": facts.model.as_ref().map(|served| &*served.version),
        "provider": facts.provider,
        "cache": facts.cache,
        "batch_size": facts.batch_size,
        "shapes": facts.shapes.as_ref().map(|shapes| shapes.iter().collect::<Vec<_>>()),
        "request_bytes": facts.request_bytes,
        "protocol": facts.protocol.map(Label::as_str),
        "response_bytes": seen.response_bytes,
    })
}
