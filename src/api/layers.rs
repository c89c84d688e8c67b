//! What happens to every request, outermost first.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Version, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use futures_util::FutureExt;
use tower::{Layer, ServiceExt, service_fn};

use super::{
    access_log::Entry,
    auth,
    browsers::Encodings,
    client,
    leftover::Leftover,
    rate_limit::{self, Told},
    reject,
    request_id::{self, RequestId},
    state::ApiState,
};
use crate::{error::Error, keys::Scope, telemetry::record::Record};

/// A caller's own deadline, `250ms`; it can only shorten the server's.
const X_REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// Wraps all routes, public ones included.
pub(super) fn common(routes: Router<ApiState>, state: &ApiState) -> Router<ApiState> {
    routes.layer(from_fn_with_state(state.clone(), every_request))
}

/// Wraps a route that only callers with `scope` may use. Not its 405: which methods there are is no secret.
pub(super) fn protected(route: MethodRouter<ApiState>, scope: Scope, state: &ApiState) -> MethodRouter<ApiState> {
    route.route_layer(from_fn_with_state((state.clone(), scope), known_callers))
}

/// What begins above the answer ends below it, in reverse. Two functions, and not a dozen layers of the framework's: each
/// of those copies and allocates all that is inside of it anew, which took a third of a request's time.
async fn every_request(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    // First of all, so that everything below can name the request, and every answer does.
    let (id, trace_id) = request_id::of(request.headers());
    let record = Record::new();
    record.note(|facts| facts.trace_id = Some(trace_id));
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(record.clone());
    // Next, so that the log line of every request has its address.
    client::note(&state, &mut request, &record);
    // Outside of everything that can fail, so that each request is logged once, with the status that the caller sees.
    let entry = Entry::begin(&state, &request, &id, record);
    let version = request.version();
    let encodings = Encodings::of(request.headers());

    // Answers a browser's question whether a page may call, which carries no key.
    let mut response = match &state.browsers.cors {
        None => answer(&state, &id, request, next).await,
        Some(cors) => {
            let answer = async |request| Ok::<_, Infallible>(answer(&state, &id, request, next.clone()).await);
            let Ok(response) = cors.layer(service_fn(answer)).oneshot(request).await;
            response
        }
    };

    // Outside of what writes bodies.
    response = state.browsers.compress(&encodings, response).await;
    say_goodbye(&state, version, &mut response);
    entry.answered(&mut response);
    id.write(&mut response);
    response
}

/// The part of it that failures pass too, whoever answers in a handler's place.
async fn answer(state: &ApiState, id: &RequestId, mut request: Request, next: Next) -> Response {
    // A quota that was charged is told with every answer.
    let told = Told::default();
    request.extensions_mut().insert(told.clone());
    // Around all that can refuse a request before its body was read.
    let (request, leftover) = Leftover::keep(request);
    // A panic costs its request a 500 and nothing else.
    let response = AssertUnwindSafe(in_time(state, request, next)).catch_unwind().await;
    let response = response.unwrap_or_else(reject::panicked);
    // Turns failures, ours and the framework's, into problem documents.
    let mut response = reject::render(id, response);
    leftover.read_rest(&mut response).await;
    rate_limit::tell(state, &told, &mut response);
    state.browsers.be_careful(&mut response);
    response
}

/// Lets in who has a key with `scope` and quota, before anything of the body is read.
async fn known_callers(State((state, scope)): State<(ApiState, Scope)>, mut request: Request, next: Next) -> Response {
    // Before anything is counted for a caller: from here on, it is known who calls.
    if let Err(error) = auth::require(&state, scope, &mut request) {
        // Who is not let in is charged to his address, and only then.
        return rate_limit::charge_stranger(&state, &request, error).into_response();
    }
    // Held until the answer is made.
    let mut response = match rate_limit::admit(&state, &mut request) {
        Ok(_place) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    // What one key may see is not for another's cache.
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Asks callers to connect anew while the server drains, so that the last connections to be closed are silent ones.
fn say_goodbye(state: &ApiState, version: Version, response: &mut Response) {
    if version > Version::HTTP_11 {
        // HTTP/2 knows no such header: requests end on their own there, and a frame says that the connection does.
        response.headers_mut().remove(header::CONNECTION);
    } else if state.lifecycle.is_draining() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The moment after which nobody waits for the answer any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(pub Instant);

/// The handler with its extractors: the time for the body counts too.
async fn in_time(state: &ApiState, mut request: Request, next: Next) -> Response {
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
