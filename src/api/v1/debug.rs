//! `GET /v1/debug/requests`: the slowest requests and the failed ones, with the times of their stages. Never a payload.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::{shared_text::SharedText, state::ApiState},
    error::Error,
    telemetry::{
        labels::Label,
        millis,
        recorder::{Seen, Wanted},
    },
};

/// What a caller wants to see.
#[derive(Debug, Clone, PartialEq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct Filter {
    /// Only requests to this model.
    #[param(example = "toxicity")]
    model: Option<String>,
    /// Only requests that failed with this code.
    #[param(example = "invalid_input")]
    code: Option<String>,
    /// Only requests that took at least so many milliseconds.
    #[param(minimum = 0.0)]
    min_latency_ms: Option<f64>,
    /// Only the request with this id.
    request_id: Option<String>,
    /// The most of each list; usually 50.
    #[param(minimum = 0, maximum = 1000)]
    limit: Option<usize>,
}

/// Requests that are worth a second look: the slowest of each route within the last half hour or hour, and the last that
/// failed.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Requests {
    /// The slowest first.
    slowest: Vec<SeenRequest>,
    /// The latest first.
    failed: Vec<SeenRequest>,
}

/// One request, without its payload.
#[derive(Debug, Serialize, ToSchema)]
struct SeenRequest {
    /// When it was answered (RFC 3339).
    #[schema(value_type = Option<String>, format = DateTime)]
    time: Option<String>,
    request_id: String,
    trace_id: Option<String>,
    /// The id of the key that let it in.
    key_id: Option<String>,
    /// The address that it came from, behind trusted proxies.
    client: Option<String>,
    method: &'static str,
    /// The template of its path.
    #[schema(example = "/v1/predict")]
    route: String,
    /// What was answered; 499 when its caller had left.
    status_code: u16,
    error_code: Option<&'static str>,
    latency_ms: f64,
    /// Milliseconds by stage; they add up to `latency_ms`.
    #[schema(value_type = BTreeMap<String, f64>)]
    stages: Map<String, Value>,
    model: Option<String>,
    model_version: Option<String>,
    provider: Option<&'static str>,
    /// What the cache did: `memory`, `redis`, `miss`, `collapsed`, `partial`, `bypass`.
    cache: Option<&'static str>,
    /// Its items.
    batch_size: Option<usize>,
    /// The shapes of its first item's tensors.
    shapes: Option<Vec<Vec<u32>>>,
    request_bytes: Option<usize>,
    /// The protocol that it spoke.
    protocol: Option<&'static str>,
    response_bytes: Option<u64>,
}

/// As many of each list as are shown when nobody says otherwise.
const USUAL: usize = 50;

/// More than are kept.
const MOST: usize = 1000;

/// The slowest and the failed requests, with the times of their stages
#[utoipa::path(
    get,
    path = "/v1/debug/requests",
    operation_id = "debug_requests",
    tag = "operation",
    params(Filter),
    responses((status = 200, description = "The requests", body = Requests))
)]
pub(in crate::api) async fn requests(
    State(state): State<ApiState>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(filter) = filter.map_err(|error| {
        Error::malformed("", "invalid_query", format!("the query cannot be read: {}", error.body_text()))
    })?;
    let least = filter.min_latency_ms.unwrap_or_default();
    if !(least.is_finite() && least >= 0.0) {
        let detail = "'min_latency_ms' is a number of milliseconds, 0 or more";
        return Err(Error::malformed("", "invalid_query", detail));
    }
    if filter.limit.unwrap_or(USUAL) > MOST {
        return Err(Error::malformed("", "invalid_query", format!("'limit' is at most {MOST}")));
    }
    let this = state.clone();
    let renderings = &state.renderings;
    let text = renderings.debug.get(&renderings.renderer, filter, move |filter| find(&this, filter)).await?;
    Ok(text.answer("application/json"))
}

/// The lists that `filter` asks for.
fn find(state: &ApiState, filter: &Filter) -> Result<Arc<SharedText>, Error> {
    let limit = filter.limit.unwrap_or(USUAL);
    // Nothing takes longer than what a duration can hold.
    let least = filter.min_latency_ms.unwrap_or_default() / 1e3;
    let least = Duration::try_from_secs_f64(least).unwrap_or(Duration::MAX);
    let wanted = Wanted {
        model: filter.model.as_deref(),
        code: filter.code.as_deref(),
        least,
        request_id: filter.request_id.as_deref(),
    };
    let list = |mut seen: Vec<_>| {
        seen.truncate(limit);
        seen.iter().map(|seen: &Arc<Seen>| SeenRequest::of(seen)).collect()
    };
    let (slowest, failed) = (state.recorder.slowest(&wanted), state.recorder.failed(&wanted));
    let found = Requests { slowest: list(slowest), failed: list(failed) };
    serde_json::to_vec(&found).map(SharedText::passing).map_err(Error::internal)
}

impl SeenRequest {
    fn of(seen: &Seen) -> Self {
        let facts = &seen.facts;
        let stages: Map<String, Value> =
            facts.timings.stages().map(|(stage, time)| (stage.as_str().to_owned(), json!(millis(time)))).collect();
        let shape = |shape: &[u32]| shape.to_vec();
        Self {
            time: Timestamp::try_from(seen.time).ok().map(|time| format!("{time:.3}")),
            request_id: seen.request_id.to_string(),
            trace_id: facts.trace_id.as_deref().map(str::to_owned),
            key_id: facts.key_id.as_deref().map(str::to_owned),
            client: facts.client.map(|address| address.to_string()),
            method: seen.method,
            route: seen.route.to_string(),
            status_code: seen.status,
            error_code: seen.error_code,
            latency_ms: millis(seen.latency()),
            stages,
            model: facts.model.as_ref().map(|served| served.model.to_string()),
            model_version: facts.model.as_ref().map(|served| served.version.to_string()),
            provider: facts.provider,
            cache: facts.cache,
            batch_size: facts.batch_size,
            shapes: facts.shapes.as_ref().map(|shapes| shapes.iter().map(shape).collect()),
            request_bytes: facts.request_bytes,
            protocol: facts.protocol.map(Label::as_str),
            response_bytes: seen.response_bytes,
        }
    }
}
