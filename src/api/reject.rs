//! What a caller sees of a failure: the one table from code to status, and the one renderer of problem documents
//! (RFC 9457).

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{grpc, request_id::RequestId};
use crate::error::{Error, ErrorCode, Violation};

/// The media type of problem documents.
pub(super) const PROBLEM: &str = "application/problem+json";

/// The status of each code. The contract's table, and the only place where the two meet.
pub(super) const fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::MalformedRequest => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::ModelNotFound | ErrorCode::PredictionNotFound | ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        ErrorCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::MisdirectedRequest => StatusCode::MISDIRECTED_REQUEST,
        ErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorCode::InvalidInput => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Overloaded | ErrorCode::ModelNotReady | ErrorCode::DependencyUnavailable | ErrorCode::Draining => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorCode::DeadlineExceeded | ErrorCode::NotCached => StatusCode::GATEWAY_TIMEOUT,
        // Nobody reads it.
        ErrorCode::CallerLeft => StatusCode::BAD_REQUEST,
    }
}

pub(super) const fn title(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::MalformedRequest => "Malformed request",
        ErrorCode::InvalidInput => "Invalid input",
        ErrorCode::Unauthenticated => "Unauthenticated",
        ErrorCode::PermissionDenied => "Permission denied",
        ErrorCode::RateLimited => "Rate limited",
        ErrorCode::ModelNotFound => "Model not found",
        ErrorCode::PredictionNotFound => "Prediction not found",
        ErrorCode::NotFound => "Not found",
        ErrorCode::MethodNotAllowed => "Method not allowed",
        ErrorCode::RequestTimeout => "Request timeout",
        ErrorCode::PayloadTooLarge => "Payload too large",
        ErrorCode::MisdirectedRequest => "Misdirected request",
        ErrorCode::UnsupportedMediaType => "Unsupported media type",
        ErrorCode::Internal => "Internal error",
        ErrorCode::Overloaded => "Overloaded",
        ErrorCode::ModelNotReady => "Model not ready",
        ErrorCode::DependencyUnavailable => "Dependency unavailable",
        ErrorCode::Draining => "Draining",
        ErrorCode::DeadlineExceeded => "Deadline exceeded",
        ErrorCode::NotCached => "Not cached",
        ErrorCode::CallerLeft => "Caller left",
    }
}

/// What a failed response carries to [`render`] and to the access log.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub error: Arc<Error>,
    /// Further members of the problem document.
    pub members: Map<String, Value>,
    /// The status, where a protocol wants another one than the table's.
    pub status: Option<StatusCode>,
}

impl Failure {
    /// By the table, whatever the protocol shows of it.
    pub(super) fn status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| status(self.error.code()))
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Failure { error: Arc::new(self), members: Map::new(), status: None }.into_response()
    }
}

impl IntoResponse for Failure {
    /// Status and headers only: the body is written by [`render`], which knows the request.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after(&self.error) {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if matches!(*self.error, Error::RequestTimeout { .. } | Error::TooSlow | Error::PayloadTooLarge { .. }) {
            // The rest of the body is still on its way; nobody is going to read it.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(*self.error, Error::Unauthenticated) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"glassbox\""));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Whole seconds, after which the same request is likely to be answered: rounded up, and at least 1.
fn retry_after(error: &Error) -> Option<u64> {
    let wait = wait(error)?;
    let started = u64::from(wait.subsec_nanos() > 0);
    Some(wait.as_secs().saturating_add(started).max(1))
}

/// When the same request is likely to be answered; nothing where that changes nothing.
pub(super) fn wait(error: &Error) -> Option<Duration> {
    Some(match error {
        Error::RateLimited { retry_after, .. } => *retry_after,
        Error::Overloaded { retry_after, .. } => retry_after.unwrap_or_default(),
        Error::TooHasty { retry_after } => *retry_after,
        error if status(error.code()) == StatusCode::SERVICE_UNAVAILABLE => Duration::ZERO,
        _ => return None,
    })
}

/// Why a request failed (RFC 9457). Some failures have further members, such as `reasons`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem<'a> {
    /// `urn:glassbox:problem:` and the code.
    #[schema(example = "urn:glassbox:problem:invalid_input")]
    r#type: String,
    /// The code in words.
    title: &'static str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong with this request.
    detail: &'a str,
    /// What kind of failure: a stable word.
    code: &'static str,
    request_id: &'a str,
    /// The detail again, for clients of the Open Inference Protocol.
    error: &'a str,
    /// Each fault of an input.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: Vec<Fault<'a>>,
    #[serde(flatten)]
    #[schema(ignore)]
    members: &'a Map<String, Value>,
}

/// One fault of an input.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Fault)]
struct Fault<'a> {
    /// JSON pointer (RFC 6901) to it; empty for the whole document.
    #[schema(example = "/input/2")]
    pointer: &'a str,
    /// What kind of fault: a stable word.
    #[schema(example = "wrong_datatype")]
    code: &'static str,
    detail: &'a str,
}

impl<'a> Problem<'a> {
    fn of(failure: &'a Failure, detail: &'a str, request_id: &'a str) -> Self {
        let (error, code) = (&*failure.error, failure.error.code());
        let fault = |fault: &'a Violation| Fault { pointer: &fault.pointer, code: fault.code, detail: &fault.detail };
        Self {
            r#type: format!("urn:glassbox:problem:{}", code.as_str()),
            title: title(code),
            status: failure.status().as_u16(),
            detail,
            code: code.as_str(),
            request_id,
            error: detail,
            errors: error.violations().iter().map(fault).collect(),
            members: &failure.members,
        }
    }
}

/// What a caller would read of `error`.
pub(super) fn example(error: &Error, status: StatusCode) -> Value {
    let failure = Failure { error: Arc::new(error.clone()), members: Map::new(), status: Some(status) };
    json!(Problem::of(&failure, &error.to_string(), "0193e2a4-6f6b-7cc2-8f55-0d7a5b9c1f11"))
}

/// Writes every failed response, as `media_type` has it.
pub(super) fn render(id: &RequestId, media_type: &'static str, response: Response) -> Response {
    let failure = match response.extensions().get::<Failure>() {
        Some(failure) => failure.clone(),
        None => match framework_failure(&response) {
            Some(error) => Failure { error: Arc::new(error), members: Map::new(), status: None },
            None => return response,
        },
    };
    if media_type == grpc::MEDIA_TYPE {
        return grpc::refused(failure, response);
    }
    let detail = failure.error.to_string();
    let problem = Problem::of(&failure, &detail, &id.0);
    let (mut parts, _) = response.into_parts();
    let body = Json(problem).into_response().into_body();
    parts.status = failure.status();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.extensions.insert(failure);
    Response::from_parts(parts, body)
}

/// Failures that the framework answers by itself: axum's extractors, for instance, speak plain text.
fn framework_failure(response: &Response<Body>) -> Option<Error> {
    let problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == PROBLEM);
    if problem || !(response.status().is_client_error() || response.status().is_server_error()) {
        return None;
    }
    Some(match response.status() {
        StatusCode::NOT_FOUND => Error::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Error::MethodNotAllowed,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Error::UnsupportedMediaType("the media type is not supported"),
        // Of all extractors, only the path's refuses anything: what is no UTF-8 once its percent signs are decoded.
        status if status.is_client_error() => Error::malformed("", "invalid_path", "the path cannot be decoded"),
        status => Error::internal(anyhow::anyhow!("the framework answered {status}")),
    })
}

/// The answer to a panic. Where it happened is in the log already; its message can quote a caller's text.
pub(super) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Error::internal(anyhow::anyhow!("a handler panicked; the line 'panicked' in the log says where")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_come_back_is_told_when_in_whole_seconds() {
        let limited = |ms| Error::RateLimited { detail: String::new(), retry_after: Duration::from_millis(ms) };
        let full = |retry_after| Error::Overloaded { what: String::new(), retry_after };
        for (error, expected) in [
            (limited(0), Some(1)),
            (limited(1), Some(1)),
            (limited(1000), Some(1)),
            (limited(1001), Some(2)),
            (full(None), Some(1)),
            (full(Some(Duration::from_millis(2500))), Some(3)),
            (full(Some(Duration::MAX)), Some(u64::MAX)),
            (Error::Draining, Some(1)),
            (Error::DeadlineExceeded, None),
            (Error::NotFound, None),
        ] {
            assert_eq!(retry_after(&error), expected, "{error:?}");
        }
    }
}
