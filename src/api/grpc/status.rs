//! What a caller sees of a failure over gRPC: the one table from code to status, and the one answer that tells it.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use tonic::{Code, Status};

use super::call::MEDIA_TYPE;
use crate::{
    api::reject::{Failure, wait},
    error::ErrorCode,
};

/// Our own code, which says more than gRPC's.
const ERROR_CODE: HeaderName = HeaderName::from_static("error-code");

/// When the same call is likely to be answered, in milliseconds: clients that repeat calls by themselves wait so long.
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// What clients read of a message: all headers together may have 8 KiB by their defaults, and some bytes take three.
const MOST_MESSAGE_BYTES: usize = 1024;

/// The status of each code. With the contract's table of HTTP, the only place where the two meet.
const fn code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::MalformedRequest | ErrorCode::InvalidInput => Code::InvalidArgument,
        ErrorCode::Unauthenticated => Code::Unauthenticated,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::RateLimited | ErrorCode::PayloadTooLarge => Code::ResourceExhausted,
        ErrorCode::ModelNotFound | ErrorCode::PredictionNotFound | ErrorCode::NotCached => Code::NotFound,
        // No such method, and no such form of its messages.
        ErrorCode::NotFound | ErrorCode::MethodNotAllowed | ErrorCode::UnsupportedMediaType => Code::Unimplemented,
        ErrorCode::RequestTimeout | ErrorCode::DeadlineExceeded => Code::DeadlineExceeded,
        // The same call fails until the name of the server, or its configuration, is another one.
        ErrorCode::MisdirectedRequest => Code::FailedPrecondition,
        ErrorCode::Internal => Code::Internal,
        ErrorCode::Overloaded | ErrorCode::ModelNotReady | ErrorCode::Draining | ErrorCode::DependencyUnavailable => {
            Code::Unavailable
        }
        // Nobody reads it.
        ErrorCode::CallerLeft => Code::Cancelled,
    }
}

/// The trailers of an answer.
pub(super) fn ok() -> HeaderMap {
    trailers(&Status::new(Code::Ok, ""))
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    // Nothing in it is anything but percent signs and visible ASCII by then.
    let _ = status.add_header(&mut trailers);
    trailers
}

/// A status that is no failure of ours, and nothing else.
pub(super) fn alone(status: &Status) -> Response {
    let mut response = Response::new(Body::empty());
    response.headers_mut().extend(trailers(status));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}

/// The same failure as gRPC tells it: a head that is also the end, with what else the layers had to say in it.
pub(in crate::api) fn refused(failure: Failure, response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::OK;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    let own = failure.error.code();
    parts.headers.extend(trailers(&Status::new(code(own), short(failure.error.to_string()))));
    parts.headers.insert(ERROR_CODE, HeaderValue::from_static(own.as_str()));
    if let Some(wait) = wait(&failure.error) {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        parts.headers.insert(PUSHBACK, millis.max(1).into());
    }
    parts.extensions.insert(failure);
    Response::from_parts(parts, Body::empty())
}

fn short(mut text: String) -> String {
    if text.len() > MOST_MESSAGE_BYTES {
        text.truncate(text.floor_char_boundary(MOST_MESSAGE_BYTES));
        text.push_str(" …");
    }
    text
}
