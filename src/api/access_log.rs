//! One log line per request, written when its answer is known. The only place where a failure is logged.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};

use super::{layers::RequestId, reject::Failure};
use crate::{error::Error, model::ModelId, telemetry::millis};

/// What a handler tells the log about the prediction that it made.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub model: ModelId,
    pub provider: &'static str,
    pub batch_size: usize,
}

pub(super) async fn record(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    // The template, not the path: paths are the caller's and have no bound.
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = next.run(request).await;

    let answered = response.extensions().get::<Answered>();
    let failure = response.extensions().get::<Failure>().map(|failure| Arc::clone(&failure.error));
    let status = response.status();
    let probe = matches!(route.as_deref(), Some("/healthz" | "/readyz"));
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                request_id = id,
                method = method.as_str(),
                route = route.as_deref().unwrap_or("other"),
                status_code = status.as_u16(),
                latency_ms = millis(started.elapsed()),
                model = answered.map(|answered| answered.model.name.as_str()),
                model_version = answered.map(|answered| answered.model.version.as_str()),
                provider = answered.map(|answered| answered.provider),
                batch_size = answered.map(|answered| answered.batch_size),
                error_code = failure.as_deref().map(|error| error.code().as_str()),
                error = failure.as_deref().map(cause),
                "request"
            )
        };
    }
    match () {
        () if status.is_server_error() && !probe => line!(error),
        () if probe => line!(debug),
        () => line!(info),
    }
    response
}

/// What went wrong, with the chain of causes that the caller does not see.
fn cause(error: &Error) -> String {
    match error {
        Error::Internal(source) => format!("{source:#}"),
        other => other.to_string(),
    }
}
