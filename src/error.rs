//! Every failure that a caller can see, with its stable code. Knows no protocol: `api/reject.rs` maps codes to statuses.

use std::{sync::Arc, time::Duration};

/// The outcomes that a caller can tell apart and act on. The names are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Not what the protocol allows: not JSON, a wrong JSON type, an unknown field.
    MalformedRequest,
    /// Well formed, but not something that this model can take.
    InvalidInput,
    /// No valid key came with the request.
    Unauthenticated,
    /// The key is valid, but not for this.
    PermissionDenied,
    /// This caller is over its quota.
    RateLimited,
    /// No model, or no version of it, has this name.
    ModelNotFound,
    /// No prediction with this id is kept, or it is another key's.
    PredictionNotFound,
    /// Nothing is served at this path.
    NotFound,
    /// The path exists, the verb does not.
    MethodNotAllowed,
    /// The body did not arrive in time, or slowly while there was no room.
    RequestTimeout,
    /// The body is larger than the limit, or becomes so when it is read.
    PayloadTooLarge,
    /// The request names a host that this listener does not answer for.
    MisdirectedRequest,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The cause is in the log; the caller learns only that it was not their fault.
    Internal,
    /// A queue, or the room for request bodies, is full.
    Overloaded,
    /// The model is loading, or could not be loaded.
    ModelNotReady,
    /// A database that the answer stands in does not give it.
    DependencyUnavailable,
    /// The server is about to stop.
    Draining,
    /// The caller's or the server's deadline passed.
    DeadlineExceeded,
    /// The caller wanted a known answer only, and there is none.
    NotCached,
    /// The caller left before there was an answer. Nobody sees this code but the log and the metrics.
    CallerLeft,
}

impl ErrorCode {
    /// The code as it stands in answers, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed_request",
            Self::InvalidInput => "invalid_input",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::RateLimited => "rate_limited",
            Self::ModelNotFound => "model_not_found",
            Self::PredictionNotFound => "prediction_not_found",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::PayloadTooLarge => "payload_too_large",
            Self::MisdirectedRequest => "misdirected_request",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Internal => "internal",
            Self::Overloaded => "overloaded",
            Self::ModelNotReady => "model_not_ready",
            Self::DependencyUnavailable => "dependency_unavailable",
            Self::Draining => "draining",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::NotCached => "not_cached",
            Self::CallerLeft => "caller_left",
        }
    }
}

/// Faults that are told of one request. No caller reads more, and one body can hold a million.
pub const MOST_VIOLATIONS: usize = 32;

/// One fault in a request body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer (RFC 6901) to the fault; empty for the whole document.
    pub pointer: String,
    /// What kind of fault, as a stable word: `too_long`, `wrong_datatype`, …
    pub code: &'static str,
    /// For the caller, without the value itself.
    pub detail: String,
}

impl Violation {
    /// A fault of kind `code` at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into() }
    }
}

/// A name inside a JSON pointer (RFC 6901), cut to a length that can be said back.
pub fn pointer_segment(name: &str) -> String {
    name.chars().take(128).collect::<String>().replace('~', "~0").replace('/', "~1")
}

/// A failed request. Client faults carry a message for the client, server faults a source for the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// See [`ErrorCode::MalformedRequest`].
    #[error("{}", summary(.0, "the request is malformed"))]
    Malformed(Vec<Violation>),
    /// See [`ErrorCode::InvalidInput`].
    #[error("{}", summary(.0, "the input is not valid for this model"))]
    Invalid(Vec<Violation>),
    /// See [`ErrorCode::Unauthenticated`]. One sentence for every reason: who tries keys learns nothing from it.
    #[error("send a valid API key, as 'Authorization: Bearer gb_…' or 'X-API-Key: gb_…'")]
    Unauthenticated,
    /// See [`ErrorCode::PermissionDenied`].
    #[error("{0}")]
    PermissionDenied(String),
    /// See [`ErrorCode::RateLimited`].
    #[error("{detail}")]
    RateLimited {
        /// Which limit was met, for the caller.
        detail: String,
        /// When the same request would be let in.
        retry_after: Duration,
    },
    /// See [`ErrorCode::ModelNotFound`].
    #[error("no model '{model}'{} is served here", version.as_ref().map(|v| format!(" with version '{v}'")).unwrap_or_default())]
    ModelNotFound {
        /// The name asked for, cut to a sane length.
        model: String,
        /// The version asked for, if one was.
        version: Option<String>,
    },
    /// See [`ErrorCode::PredictionNotFound`].
    #[error("no prediction with this id is kept, or it is not this key's")]
    PredictionNotFound,
    /// See [`ErrorCode::NotFound`].
    #[error("nothing is served at this path")]
    NotFound,
    /// See [`ErrorCode::MethodNotAllowed`].
    #[error("this path does not answer this method; see the 'Allow' header")]
    MethodNotAllowed,
    /// See [`ErrorCode::RequestTimeout`].
    #[error("the body did not arrive within {}", humantime::format_duration(*.limit))]
    RequestTimeout {
        /// How long the server waited.
        limit: Duration,
    },
    /// See [`ErrorCode::PayloadTooLarge`].
    #[error("the body is larger than {limit} bytes")]
    PayloadTooLarge {
        /// In bytes.
        limit: u64,
    },
    /// See [`ErrorCode::MisdirectedRequest`].
    #[error(
        "without keys, this server answers on loopback only for 'localhost' and loopback addresses, not for the host that \
         the request names; add that name to 'server.hosts' to have it answered"
    )]
    MisdirectedRequest,
    /// A body that takes more memory than any request gets: see [`ErrorCode::PayloadTooLarge`].
    #[error(
        "the body takes more than {limit} bytes of memory once it is read, by its many small parts; send fewer at once"
    )]
    TooCostly {
        /// In bytes.
        limit: u64,
    },
    /// A body that arrived while others needed its room: see [`ErrorCode::RequestTimeout`].
    #[error("the body arrived slowly while others needed its room; send it again")]
    TooSlow,
    /// See [`ErrorCode::UnsupportedMediaType`].
    #[error("{0}")]
    UnsupportedMediaType(&'static str),
    /// See [`ErrorCode::Overloaded`].
    #[error("{what} is full")]
    Overloaded {
        /// The queue or the room that is full.
        what: String,
        /// When there is likely to be place again, where that can be foreseen.
        retry_after: Option<Duration>,
    },
    /// Overloaded for this request, which has less time than others: see [`ErrorCode::Overloaded`].
    #[error("there is more work before this request than its deadline leaves time for")]
    TooHasty {
        /// When its turn would have been.
        retry_after: Duration,
    },
    /// See [`ErrorCode::ModelNotReady`].
    #[error("model '{model}' is not ready: {reason}")]
    ModelNotReady {
        /// The model, or a word for all of them.
        model: String,
        /// For people; holds no path of the machine.
        reason: String,
    },
    /// See [`ErrorCode::DependencyUnavailable`].
    #[error("{0}")]
    DependencyUnavailable(String),
    /// See [`ErrorCode::Draining`].
    #[error("the server is about to stop")]
    Draining,
    /// See [`ErrorCode::DeadlineExceeded`].
    #[error("the deadline passed before the answer was there")]
    DeadlineExceeded,
    /// See [`ErrorCode::NotCached`].
    #[error("the answer is not in the cache, and the request wants no other")]
    NotCached,
    /// See [`ErrorCode::CallerLeft`].
    #[error("the caller left before there was an answer")]
    CallerLeft,
    /// See [`ErrorCode::Internal`]. Shared, because requests that wait for one run also share its failure.
    #[error("the server failed to answer; the cause is in its log under this request id")]
    Internal(Arc<anyhow::Error>),
}

impl Error {
    /// The stable code of this failure.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::MalformedRequest,
            Self::Invalid(_) => ErrorCode::InvalidInput,
            Self::Unauthenticated => ErrorCode::Unauthenticated,
            Self::PermissionDenied(_) => ErrorCode::PermissionDenied,
            Self::RateLimited { .. } => ErrorCode::RateLimited,
            Self::ModelNotFound { .. } => ErrorCode::ModelNotFound,
            Self::PredictionNotFound => ErrorCode::PredictionNotFound,
            Self::NotFound => ErrorCode::NotFound,
            Self::MethodNotAllowed => ErrorCode::MethodNotAllowed,
            Self::RequestTimeout { .. } | Self::TooSlow => ErrorCode::RequestTimeout,
            Self::PayloadTooLarge { .. } | Self::TooCostly { .. } => ErrorCode::PayloadTooLarge,
            Self::MisdirectedRequest => ErrorCode::MisdirectedRequest,
            Self::UnsupportedMediaType(_) => ErrorCode::UnsupportedMediaType,
            Self::Internal(_) => ErrorCode::Internal,
            Self::Overloaded { .. } | Self::TooHasty { .. } => ErrorCode::Overloaded,
            Self::ModelNotReady { .. } => ErrorCode::ModelNotReady,
            Self::DependencyUnavailable(_) => ErrorCode::DependencyUnavailable,
            Self::Draining => ErrorCode::Draining,
            Self::DeadlineExceeded => ErrorCode::DeadlineExceeded,
            Self::NotCached => ErrorCode::NotCached,
            Self::CallerLeft => ErrorCode::CallerLeft,
        }
    }

    /// The faults to point at; empty unless the caller's body is to blame.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::Malformed(violations) | Self::Invalid(violations) => violations,
            _ => &[],
        }
    }

    /// A failure of the server's own, with its cause for the log.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        Self::Internal(Arc::new(cause.into()))
    }

    /// A malformed request with one fault.
    pub fn malformed(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Malformed(vec![Violation::new(pointer, code, detail)])
    }
}

/// The first fault says more than a general sentence; the count says that there are others. Who found the most that are
/// told has stopped counting.
fn summary(violations: &[Violation], fallback: &str) -> String {
    match violations {
        [] => fallback.to_owned(),
        [only] => only.detail.clone(),
        [first, others @ ..] => {
            let at_least = if violations.len() < MOST_VIOLATIONS { "" } else { "at least " };
            format!("{} (and {at_least}{} more)", first.detail, others.len())
        }
    }
}
