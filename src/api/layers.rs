//! What happens to every request, outermost first.

use std::time::{Duration, Instant};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Version, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use tower::{ServiceBuilder, util::MapResponseLayer};
use tower_http::catch_panic::CatchPanicLayer;
use uuid::Uuid;

use super::{access_log, auth, browsers, client, leftover, rate_limit, reject, state::ApiState};
use crate::{error::Error, keys::Scope, telemetry::record::Record};

/// Carries [`RequestId`] in both directions.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names the trace that a request is part of.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A caller's own deadline, `250ms`; it can only shorten the server's.
const X_REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// Wraps all routes, public ones included.
pub(super) fn common(routes: Router<ApiState>, state: &ApiState) -> Router<ApiState> {
    let stack = ServiceBuilder::new()
        // First of all, so that everything below can name the request, and every answer does.
        .layer(from_fn(request_id))
        // Next, so that the log line of every request has its address.
        .layer(from_fn_with_state(state.clone(), client::note))
        // Outside of everything that can fail, so that each request is logged once, with the status that the caller sees.
        .layer(from_fn_with_state(state.clone(), access_log::record))
        // Asks callers to connect anew while the server drains, so that the last connections to be closed are silent ones.
        .layer(from_fn_with_state(state.clone(), say_goodbye))
        // Outside of what writes bodies.
        .layer(browsers::compression(&state.server))
        // Answers a browser's question whether a page may call, which carries no key.
        .option_layer(browsers::cors(&state.server))
        // Outside of what makes answers, so that failures have these headers too.
        .option_layer(browsers::careful(&state.server).map(MapResponseLayer::new))
        // Outside of everything that answers in a handler's place: a quota that was charged is told with every answer.
        .layer(from_fn_with_state(state.clone(), rate_limit::tell))
        // Around all that can refuse a request before its body was read.
        .layer(from_fn(leftover::read_rest))
        // Turns failures, ours and the framework's, into problem documents; it needs the request id.
        .layer(from_fn(reject::render))
        // A panic costs its request a 500 and nothing else.
        .layer(CatchPanicLayer::custom(reject::panicked))
        // Innermost, around the handler with its extractors: the time for the body counts too.
        .layer(from_fn_with_state(state.clone(), deadline));
    routes.layer(stack)
}

/// Wraps a route that only callers with `scope` may use. Not its 405: which methods there are is no secret.
pub(super) fn protected(route: MethodRouter<ApiState>, scope: Scope, state: &ApiState) -> MethodRouter<ApiState> {
    let stack = ServiceBuilder::new()
        // Around authentication: who is not let in is charged to his address, and only then.
        .layer(from_fn_with_state(state.clone(), rate_limit::charge_strangers))
        // Before anything is read or counted for a caller: from here on, it is known who calls.
        .layer(from_fn_with_state((state.clone(), scope), auth::require))
        // Inside of authentication, which tells whose quota it is; before the body is read.
        .layer(from_fn_with_state(state.clone(), rate_limit::admit));
    route.route_layer(stack)
}

/// Names one request in answers, logs and (later) traces.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub String);

async fn request_id(mut request: Request, next: Next) -> Response {
    let id = accepted_id(request.headers()).unwrap_or_else(|| Uuid::now_v7().to_string());
    request.extensions_mut().insert(RequestId(id.clone()));
    let record = Record::new();
    record.note(|facts| facts.trace_id = Some(trace_id(request.headers())));
    request.extensions_mut().insert(record);
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}

/// The caller's id, when it is 1 to 128 visible ASCII characters.
fn accepted_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let acceptable = (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    acceptable.then(|| id.to_owned())
}

/// The trace that the caller is in (W3C, `traceparent: 00-<trace>-<span>-<flags>`), or a new one.
fn trace_id(headers: &HeaderMap) -> String {
    let caller = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(|value| {
        let mut parts = value.trim().split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let whole = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
        let only = version != "00" || parts.next().is_none();
        let real = trace.bytes().any(|byte| byte != b'0') && span.bytes().any(|byte| byte != b'0');
        (whole && only && real).then(|| trace.to_owned())
    });
    caller.unwrap_or_else(|| Uuid::now_v7().simple().to_string())
}

async fn say_goodbye(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let one_at_a_time = request.version() <= Version::HTTP_11;
    let mut response = next.run(request).await;
    if !one_at_a_time {
        // HTTP/2 knows no such header: requests end on their own there, and a frame says that the connection does.
        response.headers_mut().remove(header::CONNECTION);
    } else if state.lifecycle.is_draining() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The moment after which nobody waits for the answer any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(pub Instant);

async fn deadline(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let limit = match wanted_timeout(request.headers()) {
        Ok(wanted) => wanted.map_or(state.server.request_timeout, |wanted| wanted.min(state.server.request_timeout)),
        Err(error) => return error.into_response(),
    };
    let deadline = Instant::now() + limit;
    request.extensions_mut().insert(Deadline(deadline));
    match tokio::time::timeout_at(deadline.into(), next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => Error::DeadlineExceeded.into_response(),
    }
}

fn wanted_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get(X_REQUEST_TIMEOUT) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| humantime::parse_duration(text).ok());
    parsed.filter(|timeout| !timeout.is_zero()).map(Some).ok_or_else(|| {
        Error::malformed("", "invalid_header", "the header 'X-Request-Timeout' is a duration like '250ms' or '2s'")
    })
}
