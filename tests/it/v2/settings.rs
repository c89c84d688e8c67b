//! The log and the traces, as far as this protocol can say what they are.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::models;
use crate::support::{Collector, TestApp, serve_files};

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_told_and_left_as_it_was_started() {
    let app = TestApp::with(|config| serve_files(config, models())).await;
    let (status, settings) = app.get("/v2/logging").await;
    assert_eq!((status, &settings["log_format"]), (StatusCode::OK, &json!("ISO8601")));
    assert_eq!(app.post("/v2/logging", settings.clone()).await, (StatusCode::OK, settings.clone()));
    let other = json!({"log_info": !settings["log_info"].as_bool().unwrap()});
    let (status, answer) = app.post("/v2/logging", other).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"].as_str().unwrap().contains("telemetry.log_filter"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_nothing_is_traced_and_nothing_can_be() {
    let app = TestApp::with(|config| serve_files(config, models())).await;
    assert_eq!(app.get("/v2/trace/setting").await.1["trace_level"], json!(["OFF"]));
    assert_eq!(app.post("/v2/trace/setting", json!({"trace_level": ["OFF"]})).await.0, StatusCode::OK);
    let (status, answer) = app.post("/v2/trace/setting", json!({"trace_rate": "10"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"].as_str().unwrap().contains("telemetry.otlp_endpoint"), "{answer}");
    assert_eq!(app.get("/v2/models/several/trace/setting").await.0, StatusCode::OK);
    let (status, _) = app.post("/v2/models/several/trace/setting", json!({"trace_rate": "10"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(app.get("/v2/models/nowhere/trace/setting").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_share_of_traced_requests_is_changed_while_others_are_answered() {
    let collector = Collector::grpc().await;
    let app = TestApp::with(|config| {
        serve_files(config, models());
        config.telemetry.otlp_endpoint = collector.url();
        config.telemetry.sample_ratio = 1.0;
    })
    .await;
    let set = async |settings: Value| app.post("/v2/trace/setting", settings).await;
    let told = app.get("/v2/trace/setting").await.1;
    assert_eq!((&told["trace_level"], &told["trace_rate"]), (&json!(["TIMESTAMPS"]), &json!("1")));
    assert_eq!(set(json!({"trace_rate": "1000"})).await.1["trace_rate"], "1000");
    assert_eq!(set(json!({"trace_level": ["OFF"]})).await.1["trace_level"], json!(["OFF"]));
    for bad in
        [json!({"trace_rate": "0"}), json!({"trace_rate": "x"}), json!({"trace_file": "/tmp/x"}), json!({"x": 1})]
    {
        assert_eq!(set(bad.clone()).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(set(json!({"trace_rate": 1, "trace_level": ["TIMESTAMPS"]})).await.1["trace_rate"], "1");
}
