//! `/v1/stats` and `/v1/debug/requests`: what the server says about itself in JSON.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{KeysFile, Metrics, TestApp};

const DEBUG: &str = "/v1/debug/requests";

#[tokio::test(flavor = "multi_thread")]
async fn the_totals_are_those_of_the_metrics() {
    let app = TestApp::start().await;
    let (_, before) = app.get("/v1/stats").await;
    assert_eq!((&before["total_requests"], &before["cache_hit_rate"]), (&json!(0), &Value::Null));
    assert_eq!((&before["p99_latency_ms"], &before["avg_latency_ms"]), (&Value::Null, &Value::Null));
    for text in ["one", "two", "one", "one"] {
        app.predict(json!({"text": text})).await;
    }
    app.post("/v1/predict_batch", json!({"model": "doubler", "inputs": [[1], [2], [2]]})).await;
    app.post("/v1/predict", json!({"text": ""})).await;

    let (status, stats) = app.get("/v1/stats").await;
    assert_eq!(status, StatusCode::OK);
    for (member, expected) in [
        ("total_requests", json!(6)),
        ("failed_requests", json!(0)),
        ("refused_requests", json!(1)),
        ("predictions", json!(7)),
        ("requests_in_flight", json!(1)),
        ("queue_depth", json!(0)),
        ("queue", Value::Null),
        ("cache_hit_rate", json!(2.0 / 7.0)),
    ] {
        assert_eq!(stats[member], expected, "{member} of {stats}");
    }
    let millis = |member: &str| stats[member].as_f64().unwrap_or_else(|| panic!("{member} of {stats}"));
    assert!(
        millis("p50_latency_ms") <= millis("p95_latency_ms") && millis("p95_latency_ms") <= millis("p99_latency_ms")
    );
    assert!(millis("avg_latency_ms") > 0.0 && millis("avg_latency_ms") < 10_000.0);

    let of = |model: &str| {
        let models = stats["models"].as_array().unwrap();
        models.iter().find(|entry| entry["model"] == model).unwrap_or_else(|| panic!("{model} of {stats}")).clone()
    };
    let toxicity = of("toxicity");
    assert_eq!(toxicity["sources"], json!({"computed": 2, "memory": 2, "redis": 0, "collapsed": 0}));
    assert_eq!((&toxicity["predictions"], &toxicity["failed_predictions"]), (&json!(4), &json!(1)));
    assert_eq!((&toxicity["runs"], &toxicity["cache_hit_rate"]), (&json!(2), &json!(0.5)));
    assert_eq!(of("doubler")["sources"]["collapsed"], json!(1));
    assert_eq!(of("stub")["predictions"], json!(0));

    // One of the places where the same is told: a histogram.
    let metrics = Metrics::of(&app).await;
    let buckets = &stats["latency_buckets"];
    assert_eq!(buckets["count"], json!(6));
    let (bounds, cumulative) = (buckets["le_ms"].as_array().unwrap(), buckets["cumulative"].as_array().unwrap());
    for (bound, count) in bounds.iter().zip(cumulative) {
        let bound = format!("le=\"{}\"", bound.as_f64().unwrap() / 1e3);
        assert_eq!(
            metrics.sum("http_request_latency_seconds_bucket", &["/v1/predict", &bound]),
            count.as_f64().unwrap()
        );
    }
    let memory = &stats["cache"][0];
    assert_eq!((&memory["tier"], &memory["hit"], &memory["entries"]), (&json!("memory"), &json!(2), &json!(4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_sees_the_figures_of_its_models_only_and_records_are_for_operators() {
    let file = KeysFile::new();
    let (key, operator) = (file.create(&["--model", "doubler"]), file.create(&["--scope", "admin"]));
    let app = TestApp::with(|config| config.auth.keys_file = Some(file.path().to_owned())).await;
    let get =
        async |path: &str, key: &str| TestApp::json(app.request(Method::GET, path).header("X-API-Key", key)).await;
    let (status, stats) = get("/v1/stats", &key.text).await;
    assert_eq!(status, StatusCode::OK);
    let models: Vec<_> = stats["models"].as_array().unwrap().iter().map(|model| &model["model"]).collect();
    assert_eq!(models, ["doubler"]);
    assert_eq!(get("/v1/stats", &operator.text).await.0, StatusCode::FORBIDDEN);
    assert_eq!(get(DEBUG, &key.text).await.0, StatusCode::FORBIDDEN);

    // What a stranger does wrong is not kept, what a key does wrong is.
    let predict = |key: &str| app.request(Method::POST, "/v1/predict").header("X-API-Key", key).body("not JSON at all");
    predict("gb_000000000000_none").send().await.unwrap();
    predict(&key.text).header("content-type", "application/json").send().await.unwrap();
    let (_, records) = get(DEBUG, &operator.text).await;
    // The two refusals above, and the body.
    let codes: Vec<_> = records["failed"].as_array().unwrap().iter().map(|record| &record["error_code"]).collect();
    assert_eq!(codes, ["malformed_request", "permission_denied", "permission_denied"]);
    assert!(!records.to_string().contains("not JSON at all") && !records.to_string().contains(key.secret()));
    assert_eq!(records["failed"][0]["key_id"], json!(key.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_has_what_the_header_says_and_can_be_found() {
    let app = TestApp::start().await;
    let send = |id: &str, body: Value| {
        app.request(Method::POST, "/v1/predict").header("X-Request-Id", id.to_owned()).json(&body)
    };
    let answer = send("look-at-me", json!({"model": "linear_regression", "input": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}));
    let answer = answer.send().await.unwrap();
    let timing = answer.headers()["server-timing"].to_str().unwrap().to_owned();
    let length = answer.bytes().await.unwrap().len();
    send("text-me", json!({"text": "a secret text"})).send().await.unwrap();
    send("refuse-me", json!({"model": "linear_regression", "input": [1]})).send().await.unwrap();

    let (status, found) = app.get(&format!("{DEBUG}?request_id=look-at-me")).await;
    assert_eq!((status, found["failed"].as_array().map(Vec::len)), (StatusCode::OK, Some(0)));
    let record = &found["slowest"][0];
    for (field, expected) in [
        ("request_id", json!("look-at-me")),
        ("route", json!("/v1/predict")),
        ("method", json!("POST")),
        ("status_code", json!(200)),
        ("model", json!("linear_regression")),
        ("model_version", json!("1")),
        ("cache", json!("miss")),
        ("batch_size", json!(1)),
        ("shapes", json!([[1, 10]])),
        ("response_bytes", json!(length)),
        ("error_code", Value::Null),
    ] {
        assert_eq!(record[field], expected, "{field} of {record}");
    }
    assert!(record["request_bytes"].as_u64().unwrap() > 50 && record["trace_id"].is_string(), "{record}");
    for entry in timing.split(", ") {
        let (name, time) = entry.split_once(";dur=").unwrap();
        let told = if name == "total" { &record["latency_ms"] } else { &record["stages"][name] };
        assert_eq!(told.as_f64().unwrap(), time.parse::<f64>().unwrap(), "{name} of {record}");
    }

    let ids = async |query: &str, list: &str| {
        let (status, found) = app.get(&format!("{DEBUG}?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}: {found}");
        assert!(!found.to_string().contains("a secret text"));
        let ids =
            found[list].as_array().unwrap().iter().map(|record| record["request_id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids("code=invalid_input", "failed").await, ["refuse-me"]);
    assert_eq!(ids("model=toxicity", "slowest").await, ["text-me"]);
    assert_eq!(ids("min_latency_ms=100000", "slowest").await, [""; 0]);
    assert_eq!(ids("limit=0", "slowest").await, [""; 0]);
    for query in ["min_latency_ms=x", "min_latency_ms=-1", "min_latency_ms=nan", "unknown=1", "limit=-1"] {
        let (status, problem) = app.get(&format!("{DEBUG}?{query}")).await;
        assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("malformed_request")), "{query}");
    }
}
