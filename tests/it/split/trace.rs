//! A trace that goes on in the worker.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{api_with, until_ready, worker_command};
use crate::support::{Collector, Redis, Server, attribute, variable};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_spans_are_below_the_requests() {
    let (redis, collector) = (Redis::start(), Collector::grpc().await);
    let _worker = Server::start(worker_command(&redis).env(variable("telemetry.otlp_endpoint"), collector.url()));
    let api = api_with(&redis, |config| {
        config.telemetry.otlp_endpoint = collector.url();
        config.queue.timeout = Duration::from_secs(3);
    })
    .await;
    until_ready(&api).await;
    let request =
        api.request(Method::POST, "/v1/predict").header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    request.json(&json!({"model": "toxicity", "text": "you"})).send().await.unwrap();
    let (asks, works) = ("POST /v1/predict", "process toxicity/1");
    let both = |spans: &[opentelemetry_proto::tonic::trace::v1::Span]| {
        [asks, works].iter().all(|name| spans.iter().any(|span| span.name == *name))
    };
    let spans = collector.until("both parts have come", both).await;
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    assert_eq!(named(works).parent_span_id, named(asks).span_id);
    assert_eq!(named(works).trace_id, named(asks).trace_id);
    assert_eq!(
        (&*attribute(named(works), "glassbox.model"), &*attribute(named(works), "http.route")),
        ("toxicity", "")
    );
    let below: Vec<&str> =
        spans.iter().filter(|span| span.parent_span_id == named(works).span_id).map(|span| &*span.name).collect();
    assert!(below.contains(&"inference"), "{below:?}");
}
