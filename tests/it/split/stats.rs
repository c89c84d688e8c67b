//! What `/v1/stats` of an API server tells of its workers, and to whom.

use reqwest::Method;
use serde_json::{Value, json};

use super::{api, api_with, doubler, until_ready, worker};
use crate::support::{KeysFile, Redis, TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_and_what_waits_for_them_are_told_until_they_go() {
    let mut redis = Redis::start();
    let mut worker = worker(&redis);
    let api = api(&redis).await;
    until_ready(&api).await;
    api.predict(doubler(json!([1]))).await;
    let queue = async || api.get("/v1/stats").await.1["queue"].clone();
    let row = |queue: &Value, model: &str| {
        let models = queue["models"].as_array().unwrap();
        models.iter().find(|row| row["model"] == model).unwrap_or_else(|| panic!("{model} of {queue}")).clone()
    };
    eventually("the entry is done with", async || row(&queue().await, "doubler")["entries"] == 0).await;
    let told = queue().await;
    let expected = json!({"model": "doubler", "workers": 1, "entries": 0, "oldest_ms": 0});
    assert_eq!(row(&told, "doubler"), expected);
    assert_eq!((&told["trouble"], &told["workers_in_all"]), (&Value::Null, &json!(1)));
    assert_eq!((&told["dead_letters"], &told["pending_requests"]), (&json!(0), &json!(0)));
    let one = &told["workers"][0];
    assert!(one["uptime_seconds"].as_u64().unwrap() < 600 && !one["worker"].as_str().unwrap().is_empty(), "{told}");
    let versions = one["versions"].as_array().unwrap();
    for model in ["toxicity", "doubler", "multi_io", "linear_regression"] {
        let served = json!({"model": model, "version": "1", "state": "ready"});
        assert!(versions.contains(&served), "{model}: {told}");
    }
    assert_eq!(one["further_versions"], 0);

    redis.freeze();
    eventually("trouble is told", async || queue().await["trouble"].is_string()).await;
    assert_eq!(queue().await["workers_in_all"], 1, "those from before");
    redis.thaw();
    eventually("it is over", async || queue().await["trouble"].is_null()).await;
    worker.signal("TERM");
    worker.ended();
    eventually("nobody lives", async || queue().await["workers_in_all"] == 0).await;
    assert_eq!(row(&queue().await, "doubler")["workers"], 0);
    redis.kill();
    eventually("it is told", async || queue().await["trouble"] == "it cannot be reached").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_told_of_its_own_models_and_a_crowd_of_workers_is_told_in_part() {
    let (redis, keys) = (Redis::start(), KeysFile::new());
    let key = keys.create(&["--model", "doubler"]);
    let _worker = worker(&redis);
    let app = api_with(&redis, |config| config.auth.keys_file = Some(keys.path().to_owned())).await;
    let queue = async || {
        let request = app.request(Method::GET, "/v1/stats").header("X-API-Key", &key.text);
        TestApp::json(request).await.1["queue"].clone()
    };
    let served = async || queue().await["workers"][0]["versions"].clone();
    let doubler = json!([{"model": "doubler", "version": "1", "state": "ready"}]);
    eventually("its own are there", async || served().await == doubler).await;
    assert!(!queue().await.to_string().contains("toxicity"));

    // Names that are none, and more of all than anybody reads.
    let versions: Vec<String> = (1..=100).map(|version| format!("\"{version}\":\"loading\"")).collect();
    for worker in 0..80 {
        let name = format!("{worker}{}", "x".repeat(10_000));
        let beat = format!(
            r#"{{"worker":"{name}","started_ms":{worker},"models":{{"doubler":{{"default":null,"fault":null,"versions":{{{}}}}},
            "no name / at all":{{"default":null,"fault":"a secret","versions":{{}}}}}}}}"#,
            versions.join(",")
        );
        redis.ask(&["SADD", "glassbox:queue1:workers", &format!("crowd{worker}")]);
        redis.ask(&["SET", &format!("glassbox:queue1:worker:crowd{worker}"), &beat]);
    }
    eventually("all are seen", async || queue().await["workers_in_all"] == 81).await;
    let told = queue().await;
    assert_eq!(told["workers"].as_array().unwrap().len(), 64);
    let first = &told["workers"][0];
    assert_eq!((first["versions"].as_array().unwrap().len(), &first["further_versions"]), (64, &json!(36)));
    assert!(first["worker"].as_str().unwrap().len() < 300, "{first}");
    assert!(told.to_string().len() < 512 * 1024 && !told.to_string().contains("a secret"));
}
