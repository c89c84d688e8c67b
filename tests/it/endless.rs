//! Graphs that do not end: they cost their own callers only.

use reqwest::Method;
use serde_json::json;

use crate::support::{TestApp, TestAppBuilder, python, serve_files};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_when_nobody_waits_for_it_any_more() {
    let folder = tempfile::TempDir::new().unwrap();
    let graph = folder.path().join("loop.onnx");
    python("python/loop_graph.py", &[graph.to_str().unwrap()], "");
    let app = TestApp::with(|config| serve_files(config, vec![graph])).await;
    // More of them than there are sessions.
    for _ in 0..4 {
        let request = app.request(Method::POST, "/v1/predict").header("X-Request-Timeout", "150ms");
        let (status, answer) = TestApp::json(request.json(&json!({"input": 1_000_000_000}))).await;
        assert_eq!((status.as_u16(), &answer["code"]), (504, &json!("deadline_exceeded")));
    }
    // A session is free again.
    assert_eq!(app.predict(json!({"input": 3})).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_that_never_ends_does_not_keep_others_from_being_loaded() {
    let folder = tempfile::TempDir::new().unwrap();
    // As many as versions are loaded at the same time here, so that nothing gets past them.
    let endless: Vec<_> = ["a", "b"].map(|name| folder.path().join(format!("{name}.onnx"))).into();
    for graph in &endless {
        python("python/loop_graph.py", &[graph.to_str().unwrap(), "endless"], "");
    }
    let app = TestAppBuilder::new(|config| {
        config.models.files = endless;
        config.runtime.threads = 2;
    })
    .start()
    .await;
    app.until_loaded().await;
    assert_eq!(app.predict(json!({"model": "doubler", "input": [4]})).await, json!([8.0]));
}
