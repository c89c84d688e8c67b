//! One log line per request, written when its answer is known or its caller has left. The only place where a failure is
//! logged, and where requests are counted.

use std::{
    cell::LazyCell,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    body::{Bytes, HttpBody},
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method, StatusCode},
    response::Response,
};

use super::{
    context::Context,
    reject::Failure,
    state::{ApiState, PROBES, is_operators},
};
use crate::{
    error::Error,
    telemetry::{
        labels::{Label, Stage},
        metrics::OTHER,
        micros, millis,
        record::{Facts, Timings},
        recorder::Seen,
        traces::Finished,
        write_decimal,
    },
};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// As proxies log a caller who left; no answer carries it.
const CALLER_LEFT: u16 = 499;

/// A request that goes on; its line is written at the latest when this is dropped.
pub(super) struct Entry {
    state: ApiState,
    context: Arc<Context>,
    /// The template, not the path: paths are the caller's and have no bound.
    route: Option<MatchedPath>,
    method: Method,
    written: bool,
}

impl Entry {
    pub(super) fn begin(state: &ApiState, request: &Request, context: &Arc<Context>) -> Self {
        state.metrics.http.began();
        Self {
            state: state.clone(),
            context: Arc::clone(context),
            route: request.extensions().get::<MatchedPath>().cloned(),
            method: request.method().clone(),
            written: false,
        }
    }

    pub(super) fn answered(mut self, response: &mut Response) {
        let failure = response.extensions().get::<Failure>();
        // What went wrong is told by gRPC behind a status that says that nothing did.
        let status = failure.map_or(response.status(), Failure::status);
        let failure = failure.map(|failure| Arc::clone(&failure.error));
        let facts = self.context.record.end();
        // How long a key was looked at would tell why it was refused.
        let refused = status == StatusCode::UNAUTHORIZED;
        if !refused && let Ok(timing) = HeaderValue::from_maybe_shared(Bytes::from(server_timing(&facts.timings))) {
            response.headers_mut().insert(SERVER_TIMING, timing);
        }
        let bytes = response.body().size_hint().exact();
        self.write(status.as_u16(), failure.as_deref(), facts, bytes);
    }

    fn write(&mut self, status: u16, error: Option<&Error>, facts: Facts, response_bytes: Option<u64>) {
        self.written = true;
        let route = self.route.as_ref().map(MatchedPath::as_str);
        self.state.metrics.http.answered(self.state.counts.get(route, &self.method), status, facts.timings.total());
        let route = route.unwrap_or(OTHER);
        if !is_operators(route) {
            self.state.metrics.http.passed(&facts.timings);
        }
        self.log(route, status, error, &facts);
        let latency = facts.timings.total();
        let probe = PROBES.contains(&route);
        let (failed, span) = (!probe && self.is_failure(status, &facts), facts.span.filter(|_| !probe));
        let seen = LazyCell::new(|| {
            Arc::new(Seen {
                time: SystemTime::now(),
                request_id: Arc::clone(&self.context.id.0),
                method: known(&self.method),
                route: route.into(),
                status,
                error_code: error.map(|error| error.code().as_str()),
                response_bytes,
                facts,
            })
        });
        self.state.recorder.saw(route, latency, failed, || Arc::clone(&seen));
        if let (Some(tracer), Some(span)) = (&self.state.tracer, span) {
            tracer.finish(Finished { span, seen: Arc::clone(&seen) });
        }
    }

    /// Whether it is kept for who looks for mistakes. What strangers do wrong is not: there is no end of it, and it would
    /// push out what people with keys ask about.
    fn is_failure(&self, status: u16, facts: &Facts) -> bool {
        // An id without its secret is known too, and 401.
        let known = self.state.keys.is_none() || (facts.key_id.is_some() && status != StatusCode::UNAUTHORIZED);
        status >= CALLER_LEFT || (status >= 400 && known)
    }

    fn log(&self, route: &str, status: u16, error: Option<&Error>, facts: &Facts) {
        let stage = |stage| facts.timings.stage(stage).map(millis);
        let mut client = Vec::new();
        let client = facts.client.map(|address| write_address(&mut client, address));
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id = &*self.context.id.0,
                    trace_id = facts.trace_id.as_deref(),
                    key_id = facts.key_id.as_deref(),
                    client,
                    protocol = facts.protocol.map(Label::as_str),
                    method = known(&self.method),
                    route,
                    status_code = status,
                    latency_ms = millis(facts.timings.total()),
                    stages.auth = stage(Stage::Auth),
                    stages.rate_limit = stage(Stage::RateLimit),
                    stages.decode = stage(Stage::Decode),
                    stages.cache = stage(Stage::Cache),
                    stages.queue = stage(Stage::Queue),
                    stages.preprocess = stage(Stage::Preprocess),
                    stages.inference = stage(Stage::Inference),
                    stages.postprocess = stage(Stage::Postprocess),
                    stages.encode = stage(Stage::Encode),
                    stages.other = stage(Stage::Other),
                    model = facts.model.as_ref().map(|served| &*served.model),
                    model_version = facts.model.as_ref().map(|served| &*served.version),
                    provider = facts.provider,
                    cache = facts.cache,
                    batch_size = facts.batch_size,
                    error_code = error.map(|error| error.code().as_str()),
                    error = error.map(cause),
                    "request"
                )
            };
        }
        match StatusCode::from_u16(status) {
            _ if PROBES.contains(&route) => line!(debug),
            Ok(status) if status.as_u16() < 400 && is_operators(route) => line!(debug),
            Ok(status) if status.is_server_error() => line!(error),
            _ => line!(info),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.written {
            let facts = self.context.record.end();
            // Only who serves ends requests at the hard stop; at any other time it is the caller.
            match self.state.lifecycle.is_stopped() {
                true => self.write(StatusCode::SERVICE_UNAVAILABLE.as_u16(), Some(&Error::Draining), facts, None),
                false => self.write(CALLER_LEFT, Some(&Error::CallerLeft), facts, None),
            }
        }
        self.state.metrics.http.ended();
    }
}

/// The stages of a request in milliseconds, as the W3C's Server Timing has them, their sum last.
fn server_timing(timings: &Timings) -> Vec<u8> {
    let mut text = Vec::with_capacity(320);
    let stages = timings.stages().map(|(stage, time)| (stage.as_str(), time));
    for (name, time) in stages.chain([("total", timings.total())]) {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b";dur=");
        write_millis(&mut text, time);
    }
    text
}

/// As [`millis`], always with three decimals: as a float, it would take as long as all else here.
fn write_millis(text: &mut Vec<u8>, time: Duration) {
    let micros = micros(time);
    write_decimal(text, micros / 1000);
    let digit = |divisor: u64| b'0' + u8::try_from(micros / divisor % 10).unwrap_or_default();
    text.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
}

/// An address as text, the usual ones without the formatter of the standard library.
fn write_address(text: &mut Vec<u8>, address: IpAddr) -> &str {
    match address {
        IpAddr::V4(address) => {
            for octet in address.octets() {
                if !text.is_empty() {
                    text.push(b'.');
                }
                write_decimal(text, octet.into());
            }
        }
        IpAddr::V6(address) => text.extend_from_slice(address.to_string().as_bytes()),
    }
    // Digits, letters, dots and colons.
    std::str::from_utf8(text).unwrap_or_default()
}

/// A method that HTTP defines; others are as long as a caller likes.
fn known(method: &Method) -> &'static str {
    const KNOWN: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ];
    const NAMES: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];
    KNOWN.iter().position(|known| known == method).map_or(OTHER, |index| NAMES[index])
}

/// What went wrong, with the chain of causes that the caller does not see.
fn cause(error: &Error) -> String {
    match error {
        Error::Internal(source) => format!("{source:#}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_writes_them() {
        for text in ["0.0.0.0", "127.0.0.1", "255.10.9.100", "::1", "2001:db8::7"] {
            assert_eq!(write_address(&mut Vec::new(), text.parse().unwrap()), text);
        }
    }

    #[test]
    fn milliseconds_have_three_decimals_and_are_those_of_the_log() {
        for (nanos, expected) in [
            (0, "0.000"),
            (499, "0.000"),
            (500, "0.001"),
            (9_999, "0.010"),
            (1_234_499, "1.234"),
            (1_234_500, "1.235"),
            (10_000_000, "10.000"),
            (86_400_000_123_000, "86400000.123"),
        ] {
            let (mut text, time) = (Vec::new(), Duration::from_nanos(nanos));
            write_millis(&mut text, time);
            assert_eq!(String::from_utf8(text).unwrap(), expected);
            assert_eq!(format!("{:.3}", millis(time)), expected);
        }
    }
}
