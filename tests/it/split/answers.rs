//! What callers are answered, and that it is the same as from one process.

use reqwest::Method;
use serde_json::{Value, json};

use super::{api, api_with, doubler, entries, until_ready, until_workers, worker, worker_of};
use crate::support::{Loop, Metrics, Redis, TestApp, eventually};

/// Without what is another for each answer.
fn comparable(mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        for name in ["id", "request_id", "latency_ms", "load_ms", "execution", "batching"] {
            members.remove(name);
        }
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn two_roles_answer_as_one_process_does() {
    let redis = Redis::start();
    let _worker = worker(&redis);
    let split = api(&redis).await;
    let whole = TestApp::with(|config| config.cache.mode = glassbox::config::CacheMode::Off).await;
    until_ready(&split).await;
    let text = json!({"model": "toxicity", "text": "you are awful"});
    let bodies = [
        ("/v1/predict", text.clone()),
        ("/v1/predict", json!({"model": "stub", "text": "fine"})),
        ("/v1/predict", doubler(json!([1.5, -2]))),
        ("/v1/predict", doubler(json!([]))),
        ("/v1/predict", doubler(json!(["no number"]))),
        ("/v1/predict", json!({"model": "multi_io", "input": {"amount": [5, 1], "category": [2]}})),
        ("/v1/predict", json!({"model": "linear_regression", "input": [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]})),
        ("/v1/predict", json!({"model": "linear_regression", "input": [1, 2]})),
        ("/v1/predict", json!({"model": "toxicity", "text": ""})),
        ("/v1/predict", json!({"model": "nobody", "input": 1})),
        ("/v1/predict", json!({"model": "doubler", "version": "9", "input": [1]})),
        ("/v1/predict", json!({"model": "doubler"})),
        ("/v1/predict_batch", json!({"model": "toxicity", "texts": ["good", "bad", "good"]})),
        ("/v1/predict_batch", json!({"model": "doubler", "inputs": [[1], [2, 3], "x"]})),
        (
            "/v2/models/doubler/infer",
            json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}),
        ),
    ];
    for (path, body) in bodies {
        let (expected, got) = (whole.post(path, body.clone()).await, split.post(path, body.clone()).await);
        assert_eq!(got.0, expected.0, "{path} {body}: {}", got.1);
        assert_eq!(comparable(got.1), comparable(expected.1), "{path} {body}");
    }
    for path in
        ["/v1/models/toxicity", "/v1/models/doubler/versions/1", "/v2/models/multi_io", "/v2/models/stub/config"]
    {
        let (expected, got) = (whole.get(path).await, split.get(path).await);
        assert_eq!((got.0, comparable(got.1)), (expected.0, comparable(expected.1)), "{path}");
    }
    let names = |body: &Value| {
        let models = body["models"].as_array().unwrap().iter();
        models.map(|model| (model["name"].clone(), model["state"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(names(&split.get("/v1/models").await.1), names(&whole.get("/v1/models").await.1));

    // The stages of both processes, and they add up.
    let response = split.request(Method::POST, "/v1/predict").json(&text).send().await.unwrap();
    let timing = response.headers()["server-timing"].to_str().unwrap().to_owned();
    let stage = |name: &str| -> f64 {
        let part = timing.split(", ").find(|part| part.starts_with(&format!("{name};dur="))).unwrap_or_else(|| {
            panic!("{name} is not in {timing}");
        });
        part.split_once('=').unwrap().1.parse().unwrap()
    };
    assert!(stage("inference") > 0.0 && stage("queue") > 0.0);
    let all = ["auth", "rate_limit", "decode", "queue", "preprocess", "inference", "postprocess", "encode", "other"];
    let sum: f64 = all.into_iter().filter(|name| timing.contains(&format!("{name};"))).map(stage).sum();
    assert!((sum - stage("total")).abs() < 0.02, "{timing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_holds_entries_of_both_api_servers() {
    let redis = Redis::start();
    let worker = worker(&redis);
    let (one, other) = (api(&redis).await, api(&redis).await);
    until_ready(&one).await;
    until_ready(&other).await;
    let shared = async || {
        let metrics = Metrics::at(worker.addr).await;
        let all = metrics.sum("worker_batch_replicas_count", &["model=\"toxicity\""]);
        all - metrics.sum("worker_batch_replicas_bucket", &["model=\"toxicity\"", "le=\"1\""])
    };
    eventually("a run holds entries of both", async || {
        let ask = async |app: &TestApp, number: usize| {
            let text = format!("this is text {number}");
            let (status, answer) = app.post("/v1/predict", json!({"model": "toxicity", "text": text})).await;
            assert_eq!(status, 200, "{answer}");
        };
        let both = (0..32).map(|number| ask(if number % 2 == 0 { &one } else { &other }, number));
        futures_util::future::join_all(both).await;
        shared().await > 0.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_a_worker_is_refused_at_once_with_a_time_to_come_back() {
    let redis = Redis::start();
    let api = api(&redis).await;
    let (status, body) = api.get("/readyz").await;
    assert_eq!((status.as_u16(), &body["code"]), (503, &json!("model_not_ready")), "{body}");
    let mut worker = worker(&redis);
    until_ready(&api).await;
    api.predict(doubler(json!([1]))).await;
    worker.signal("KILL");
    worker.ended();
    until_workers_gone(&api).await;
    let response = api.request(Method::POST, "/v1/predict").json(&doubler(json!([1]))).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    let body: Value = response.json().await.unwrap();
    // Who waited in vain would read of a deadline.
    assert_eq!(body["code"], "model_not_ready", "{body}");
    assert_eq!(api.get("/readyz").await.0, 503);
    let (_, models) = api.get("/v1/models").await;
    assert!(models.to_string().contains("no_worker"), "{models}");
}

async fn until_workers_gone(api: &TestApp) {
    eventually("the worker is missed", async || api.post("/v1/predict", doubler(json!([1]))).await.0 == 503).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expired_is_not_run_and_who_leaves_frees_the_worker() {
    let (redis, slow) = (Redis::start(), Loop::new());
    let worker = worker_of(&redis, &slow.path());
    let api = api(&redis).await;
    until_workers(&api, "loop", 1).await;
    let ask = |turns: u64, timeout: &str| {
        let request = api.request(Method::POST, "/v1/predict").header("X-Request-Timeout", timeout);
        TestApp::json(request.json(&json!({"model": "loop", "input": turns})))
    };
    // Minutes of work, of which its caller waits for a fraction of a second: the session is free again soon.
    let (status, body) = ask(2_000_000_000, "600ms").await;
    assert_eq!((status.as_u16(), &body["code"]), (504, &json!("deadline_exceeded")));
    let (status, body) = ask(3, "100s").await;
    assert_eq!((status.as_u16(), &body["prediction"]), (200, &json!(3)), "{body}");

    // Behind a run that goes on, who leaves takes his entry back before any worker has it.
    worker.signal("STOP");
    let (status, _) = ask(5, "300ms").await;
    assert_eq!(status, 504);
    worker.signal("CONT");
    until_workers(&api, "loop", 1).await;
    eventually("nothing is left in the stream", async || {
        redis.keys("glassbox:queue1:entries").iter().all(|stream| redis.ask(&["XLEN", stream]) == ":0\r\n")
    })
    .await;
    let (status, body) = ask(4, "100s").await;
    assert_eq!((status.as_u16(), &body["prediction"]), (200, &json!(4)), "{body}");
    // The two that were answered, and none of those that were not.
    eventually("the last is counted", async || entries(&worker, "answered").await == 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_refuses_at_once() {
    let (redis, slow) = (Redis::start(), Loop::new());
    let _worker = worker_of(&redis, &slow.path());
    let api = api_with(&redis, |config| config.queue.capacity = 2).await;
    until_workers(&api, "loop", 1).await;
    let ask = |timeout: &str| {
        let request = api.request(Method::POST, "/v1/predict").header("X-Request-Timeout", timeout);
        TestApp::json(request.json(&json!({"model": "loop", "input": 2_000_000_000_u64})))
    };
    let answers = futures_util::future::join_all((0..6).map(|_| ask("8s"))).await;
    let with = |code: &str| answers.iter().filter(|(_, body)| body["code"] == code).count();
    assert_eq!((with("deadline_exceeded"), with("overloaded")), (2, 4), "{answers:?}");
}
