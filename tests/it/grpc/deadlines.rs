//! How long a caller waits, and what becomes of who does not.

use std::time::{Duration, Instant};

use super::{
    call::{Caller, INFER},
    messages::{Choice, ModelInferRequest, Parameter, of},
};
use crate::support::{Loop, PATIENCE, TestApp, until};

/// Counts for minutes.
fn endless() -> ModelInferRequest {
    of("loop", "turns", &[], &[1_000_000_000])
}

async fn refused_within(app: &TestApp, headers: &[(&str, &str)], request: &ModelInferRequest) {
    let (mut caller, began) = (Caller::connect(app.addr).await, Instant::now());
    let answer = caller.call(INFER, headers, request).await;
    assert_eq!((answer.status(), answer.header("error-code")), (4, Some("deadline_exceeded")), "{answer:?}");
    // The server's own is PATIENCE.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(150) && took < PATIENCE / 2, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_when_its_caller_says_so() {
    let app = Loop::new().serve(|_| {}).await;
    refused_within(&app, &[("grpc-timeout", "150m")], &endless()).await;
    refused_within(&app, &[("grpc-timeout", "20S"), ("x-request-timeout", "150ms")], &endless()).await;
    let timeout = Parameter { choice: Some(Choice::Int64(150_000)) };
    let request = ModelInferRequest { parameters: [("timeout".to_owned(), timeout)].into(), ..endless() };
    refused_within(&app, &[], &request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_counted_as_who_left() {
    let app = Loop::new().serve(|_| {}).await;
    let addr = app.addr;
    let mut callers = tokio::task::JoinSet::new();
    callers.spawn(async move { Caller::connect(addr).await.call(INFER, &[], &endless()).await });
    until("the call has come", || app.series("http_requests_in_flight") == Some(1.0));
    callers.abort_all();
    let left = format!("http_requests_total{{method=\"POST\",route=\"{INFER}\",status=\"499\"}}");
    until("the call is over", || app.series(&left) == Some(1.0) && app.series("http_requests_in_flight") == Some(0.0));
}
