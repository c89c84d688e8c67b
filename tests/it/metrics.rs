//! `/metrics`, as Prometheus sees it.

use std::process::Command;

use reqwest::Method;
use serde_json::json;

use crate::support::{KeysFile, Metrics, TestApp, TestAppBuilder, python, run_with_input, serve_files};

/// The real linter of the real Prometheus.
fn check(text: &str) -> (Option<i32>, String) {
    let there = Command::new("promtool").arg("--version").output().is_ok();
    assert!(there, "promtool is not installed: install the package 'prometheus', or run 'make setup'");
    let finished = run_with_input(Command::new("promtool").args(["check", "metrics"]), text);
    (finished.code, finished.stdout + &finished.stderr)
}

async fn text(app: &TestApp) -> String {
    Metrics::of(app).await.text().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_to_say_before_and_after_traffic() {
    let file = KeysFile::new();
    let key = file.create(&[]);
    let app = TestApp::with(|config| {
        config.auth.keys_file = Some(file.path().to_owned());
        config.rate_limit.enabled = true;
    })
    .await;
    assert_eq!(check(&text(&app).await), (Some(0), String::new()));
    for (body, path) in [
        (json!({"text": "hello"}), "/v1/predict"),
        (json!({"text": "hello"}), "/v1/predict"),
        (json!({"texts": ["a", "b", ""]}), "/v1/predict_batch"),
        (json!({"model": "none", "input": 1}), "/v1/predict"),
        (json!({"model": "doubler", "input": [1, 2]}), "/v1/predict"),
    ] {
        app.request(Method::POST, path).header("X-API-Key", &key.text).json(&body).send().await.unwrap();
        app.request(Method::POST, path).json(&body).send().await.unwrap();
    }
    assert_eq!(check(&text(&app).await), (Some(0), String::new()));
    // The linter does find what is wrong.
    assert_ne!(check("# HELP a b\n# TYPE a counter\na 1\n").0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_sets_exist_at_zero_from_the_start() {
    let app = TestApp::start().await;
    let metrics = Metrics::of(&app).await;
    for (metric, labels) in [
        ("http_requests_total", &["route=\"/v1/predict\"", "method=\"POST\"", "status=\"200\""][..]),
        ("http_requests_total", &["route=\"other\"", "method=\"other\"", "status=\"404\""]),
        ("http_request_latency_seconds_count", &["route=\"/v1/predict_batch\"", "method=\"POST\""]),
        ("request_stage_seconds_count", &["stage=\"queue\""]),
        ("predictions_total", &["model=\"toxicity\"", "version=\"1\"", "outcome=\"ok\"", "source=\"collapsed\""]),
        ("predictions_total", &["model=\"doubler\"", "outcome=\"overloaded\""]),
        ("predictions_total", &["model=\"other\"", "outcome=\"model_not_found\""]),
        ("nonfinite_outputs_total", &["model=\"doubler\""]),
        ("inference_latency_seconds_count", &["model=\"toxicity\"", "provider=\"onnxruntime-cpu\""]),
        ("inference_queue_depth", &["model=\"stub\""]),
        ("cache_lookups_total", &["tier=\"redis\"", "result=\"error\""]),
        ("cache_operation_seconds_count", &["tier=\"redis\"", "operation=\"set\""]),
        ("cache_entries", &["tier=\"memory\""]),
        ("cache_evictions_total", &["tier=\"memory\""]),
        ("cache_circuit_open", &["tier=\"redis\""]),
        ("cache_saved_seconds_total", &["tier=\"memory\""]),
        ("auth_rejections_total", &["reason=\"expired\""]),
        ("model_loads_total", &["result=\"failed\""]),
        ("api_keys_loads_total", &["result=\"failed\""]),
        ("tls_certificate_loads_total", &["result=\"ok\""]),
        ("log_lines_dropped_total", &[]),
    ] {
        assert_eq!(metrics.sum(metric, labels), 0.0, "{metric} {labels:?}");
    }
    for (metric, labels) in [
        ("model_info", &["model=\"toxicity\"", "version=\"1\"", "digest=\"", "provider=\"onnxruntime-cpu\""][..]),
        ("model_load_seconds", &["model=\"toxicity\""]),
        ("model_loads_total", &["result=\"ok\""]),
        ("build_info", &["version=\""]),
        ("onnxruntime_info", &["version=\"1."]),
        ("process_resident_memory_bytes", &[]),
    ] {
        assert!(metrics.sum(metric, labels) > 0.0, "{metric} {labels:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gauges_come_back_to_zero_and_answers_without_numbers_are_counted() {
    let folder = tempfile::TempDir::new().unwrap();
    let graph = folder.path().join("ratio.onnx");
    python("python/ratio_graph.py", &[graph.to_str().unwrap()], "");
    let app = TestApp::with(|config| serve_files(config, vec![graph])).await;
    assert!(app.predict(json!({"input": [[1, 0]]})).await.to_string().contains("null"));
    assert!(!app.predict(json!({"input": [[1, 2]]})).await.to_string().contains("null"));
    let metrics = Metrics::of(&app).await;
    assert_eq!(metrics.sum("nonfinite_outputs_total", &["model=\"ratio\""]), 1.0);
    assert_eq!(metrics.sum("inference_queue_depth", &["model=\"ratio\""]), 0.0);
    // The one that asks.
    assert_eq!(metrics.sum("http_requests_in_flight", &[]), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_can_be_kept_from_those_without_a_key() {
    let file = KeysFile::new();
    let (scraper, caller) = (file.create(&["--scope", "metrics"]), file.create(&[]));
    let app = TestAppBuilder::new(|config| {
        config.auth.keys_file = Some(file.path().to_owned());
        config.auth.public_metrics = false;
    });
    let app = app.start().await;
    for (key, status) in [(&scraper.text, 200), (&caller.text, 403), (&"gb_no_key".to_owned(), 401)] {
        let answer = app.request(Method::GET, "/metrics").bearer_auth(key).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
    assert_eq!(app.request(Method::GET, "/metrics").send().await.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_and_confidences_are_counted_once_for_each_computed_prediction() {
    let app = TestApp::start().await;
    let classes = |metrics: &Metrics, label: &str| {
        let label = format!("label=\"{label}\"");
        metrics.sum("predicted_classes_total", &["model=\"toxicity\"", "version=\"1\"", &label])
    };
    let before = Metrics::of(&app).await;
    // All labels of the manifest are there from the start, and nothing of models that have none.
    assert_eq!((classes(&before, "toxic"), classes(&before, "non_toxic")), (0.0, 0.0));
    let doubler = |series: &&str| series.contains("prediction_confidence") && series.contains("doubler");
    assert_eq!(before.series().into_iter().find(doubler), None);
    // The second time it is known.
    for _ in 0..2 {
        assert_eq!(app.predict(json!({"text": "have a lovely day"})).await["label"], "non_toxic");
    }
    let texts = json!({"texts": ["you are awful", "you are a stupid idiot"]});
    let predictions = app.post("/v1/predict_batch", texts).await.1["predictions"].clone();
    let answers = predictions.as_array().unwrap().iter().map(|item| &item["prediction"]);
    let toxic = answers.filter(|prediction| prediction["label"] == "toxic").count();
    let after = Metrics::of(&app).await;
    assert_eq!((classes(&after, "toxic"), classes(&after, "non_toxic")), (toxic as f64, (3 - toxic) as f64));
    assert_eq!(after.sum("prediction_confidence_count", &["model=\"toxicity\""]), 3.0);
    // Of two classes, the more probable one has at least half.
    assert_eq!(after.sum("prediction_confidence_bucket", &["model=\"toxicity\"", "le=\"0.4\""]), 0.0);
    assert_eq!(after.sum("prediction_confidence_bucket", &["model=\"toxicity\"", "le=\"1\""]), 3.0);
}
