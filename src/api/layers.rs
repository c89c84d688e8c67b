//! What happens to every request, outermost first.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Version, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, Route},
};
use futures_util::FutureExt;
use tower::{Layer, ServiceExt, layer::layer_fn, service_fn};

use super::{
    access_log::Entry, auth, client, context::Context, deliver::Delivery, grpc, hosts::Hosts, leftover::Leftover,
    rate_limit, reject, request_id, state::ApiState, v2,
};
use crate::{
    error::Error,
    keys::Scope,
    telemetry::{labels::Protocol, record::Record},
};

/// A caller's own deadline, `250ms`; it can only shorten the server's.
const X_REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");

/// Wraps all routes, public ones included. `hosts` are the names of a listener that does not answer for all.
pub(super) fn common(routes: Router<ApiState>, state: &ApiState, hosts: Option<Hosts>) -> Router<ApiState> {
    let (state, hosts) = (state.clone(), Arc::new(hosts));
    routes.layer(layer_fn(move |route| {
        // Shared: the framework copies a service for each request, with all that is inside of it.
        let (state, hosts, route) = (state.clone(), Arc::clone(&hosts), Arc::<Route>::new(route));
        service_fn(move |request| {
            let misdirected = Option::as_ref(&hosts).is_some_and(|hosts| !hosts.answer_for(&request));
            every_request(state.clone(), request, Route::clone(&route), misdirected)
        })
    }))
}

/// Wraps a route that only callers with `scope` may use. Not its 405: which methods there are is no secret.
pub(super) fn protected(route: MethodRouter<ApiState>, scope: Scope, state: &ApiState) -> MethodRouter<ApiState> {
    let state = state.clone();
    route.route_layer(layer_fn(move |route| {
        let (state, route) = (state.clone(), Arc::<Route>::new(route));
        service_fn(move |request| known_callers(state.clone(), scope, request, Route::clone(&route)))
    }))
}

/// What begins above the answer ends below it, in reverse. Two functions, and not a dozen layers of the framework's: each
/// of those copies and allocates all that is inside of it anew, which took a third of a request's time.
async fn every_request(
    state: ApiState,
    mut request: Request,
    route: Route,
    misdirected: bool,
) -> Result<Response, Infallible> {
    // First of all, so that everything below can name the request, and every answer does.
    let (id, trace, new_id) = request_id::of(request.headers());
    let record = Record::new();
    let is_grpc = grpc::is_call(&request);
    let limit = match misdirected {
        true => Err(Error::MisdirectedRequest),
        false => time_limit(&state, request.headers(), is_grpc),
    };
    let deadline = record.started() + *limit.as_ref().unwrap_or(&state.server.request_timeout);
    // Next, so that the log line of every request has its address.
    let client = client::address(&state, &request);
    let span = state.tracer.as_ref().and_then(|tracer| tracer.sample(&trace));
    record.note(|facts| {
        (facts.request_id, facts.new_id) = (Some(Arc::clone(&id.0)), new_id);
        (facts.trace_id, facts.span, facts.client) = (Some(trace.id), span, client);
        facts.protocol = is_grpc.then_some(Protocol::Grpc);
    });
    let failures = if is_grpc { grpc::MEDIA_TYPE } else { v2::failures(&request) };
    let context = Context::new(id, record, client, deadline, failures).enter(&mut request);
    // Outside of everything that can fail, so that each request is logged once, with the status that the caller sees.
    let entry = Entry::begin(&state, &request, &context);
    let version = request.version();

    // Answers a browser's question whether a page may call, which carries no key. A page that came here by a name of its own
    // is told nothing.
    let mut response = match state.browsers.cors.as_ref().filter(|_| !misdirected) {
        None => answer(&state, &context, limit, request, route).await,
        Some(cors) => {
            let (state, context) = (state.clone(), Arc::clone(&context));
            let answer = service_fn(move |request| {
                let (state, context, limit, route) =
                    (state.clone(), Arc::clone(&context), limit.clone(), route.clone());
                async move { Ok::<_, Infallible>(answer(&state, &context, limit, request, route).await) }.boxed()
            });
            let Ok(response) = cors.layer(answer).oneshot(request).await;
            response
        }
    };

    say_goodbye(&state, version, &mut response);
    entry.answered(&mut response);
    context.id.write(&mut response);
    Ok(response)
}

/// The part of it that failures pass too, whoever answers in a handler's place.
async fn answer(
    state: &ApiState,
    context: &Context,
    limit: Result<Duration, Error>,
    request: Request,
    route: Route,
) -> Response {
    let delivery = Delivery::of(&request, context);
    // Around all that can refuse a request before its body was read.
    let (request, leftover) = Leftover::keep(request);
    // The handler with its extractors: the time for the body counts too.
    let in_time = async {
        limit?;
        match tokio::time::timeout_at(context.deadline.into(), route.oneshot(request)).await {
            Ok(Ok(response)) => Ok(response),
            Err(_elapsed) => Err(Error::DeadlineExceeded),
        }
    };
    // A panic costs its request a 500 and nothing else.
    let response = AssertUnwindSafe(in_time).catch_unwind().await;
    let response = response.map_or_else(reject::panicked, IntoResponse::into_response);
    // Turns failures, ours and the framework's, into problem documents.
    let response = reject::render(&context.id, context.failures, response);
    // Outside of what writes bodies.
    let mut response = delivery.deliver(state, context, response).await;
    leftover.read_rest(&mut response).await;
    // A quota that was charged is told with every answer.
    rate_limit::tell(context, &mut response);
    state.browsers.be_careful(&mut response);
    response
}

/// Lets in who has a key with `scope` and quota, before anything of the body is read.
async fn known_callers(state: ApiState, scope: Scope, request: Request, route: Route) -> Result<Response, Infallible> {
    let context = match Context::of(request.extensions()) {
        Ok(context) => Arc::clone(context),
        Err(error) => return Ok(error.into_response()),
    };
    // Before anything is counted for a caller: from here on, it is known who calls.
    if let Err(error) = auth::require(&state, scope, request.headers(), &context) {
        // Who is not let in is charged to his address, and only then.
        return Ok(rate_limit::charge_stranger(&state, &request, &context, error).into_response());
    }
    // Held until the answer is made.
    let mut response = match rate_limit::admit(&state, &request, &context) {
        Ok(_place) => route.oneshot(request).await?,
        Err(error) => error.into_response(),
    };
    // What one key may see is not for another's cache.
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    Ok(response)
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

/// What this request may take.
fn time_limit(state: &ApiState, headers: &HeaderMap, is_grpc: bool) -> Result<Duration, Error> {
    let wanted = [wanted_timeout(headers)?, if is_grpc { grpc::timeout(headers)? } else { None }];
    Ok(wanted.into_iter().flatten().fold(state.server.request_timeout, Duration::min))
}

fn wanted_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get(X_REQUEST_TIMEOUT) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| humantime::parse_duration(text).ok());
    parsed.filter(|timeout| !timeout.is_zero()).map(Some).ok_or_else(|| {
        Error::malformed("", "invalid_header", "the header 'X-Request-Timeout' is a duration like '250ms' or '2s'")
    })
}
