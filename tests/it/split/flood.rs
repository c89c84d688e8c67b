//! More than anybody needs lies in Redis: it is bounded in number and bytes, and what is right goes on.

use serde_json::{Value, json};

use super::{api, doubler, until_ready, worker};
use crate::support::{Metrics, Redis, TestApp, eventually, glassbox, run, variable};

const WORKERS: &str = "glassbox:queue1:workers";

/// Of models that workers name, and of those that they named before.
const MAX_NAMES: usize = 512 + 256;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_names_ever_new_models_adds_a_bounded_number_of_series() {
    let redis = Redis::start();
    let _worker = worker(&redis);
    let api = api(&redis).await;
    until_ready(&api).await;
    let standing = json!({"ready": {"fingerprint": "f0", "description": "d0"}});
    for look in 0..4 {
        let model = |n: u32| {
            let versions = json!({"1": &standing});
            (format!("m{look}_{n}"), json!({"default": null, "fault": null, "versions": versions}))
        };
        let models: serde_json::Map<String, Value> = (0..1500).map(model).collect();
        // Its name comes before that of any other.
        beat(&redis, "!", &json!({"worker": "!", "started_ms": 1, "models": models}).to_string());
        let own = format!("queue_workers{{model=\"m{look}_");
        eventually("it was looked at", async || Metrics::of(&api).await.text().contains(&own)).await;
        assert!(left_out(&api, "model") > 0.0);
        assert!(names(&api).await <= MAX_NAMES, "{}", names(&api).await);
        // What was there before keeps its place.
        assert_eq!(api.series("queue_workers{model=\"doubler\"}"), Some(1.0));
        assert_eq!(api.predict(doubler(json!([look]))).await, json!([f64::from(look) * 2.0]));
    }
    redis.ask(&["DEL", "glassbox:queue1:worker:!"]);
    eventually("they are gone", async || left_out(&api, "model") == 0.0).await;
    assert!(names(&api).await <= MAX_NAMES);
    assert_eq!(api.predict(doubler(json!([9]))).await, json!([18.0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_that_are_too_large_or_too_many_are_left_out_and_the_rest_goes_on() {
    let redis = Redis::start();
    let _worker = worker(&redis);
    let api = api(&redis).await;
    until_ready(&api).await;
    for n in 0..20 {
        let models = json!({"m": {"default": "1", "fault": "x".repeat(3_900_000), "versions": {}}});
        let id = format!("!{n}");
        beat(&redis, &id, &json!({"worker": id, "started_ms": 1, "models": models}).to_string());
    }
    // Each alone is small enough.
    for n in 0..50 {
        let models = json!({"m": {"default": "1", "fault": "x".repeat(250_000), "versions": {}}});
        let id = format!("${n:02}");
        beat(&redis, &id, &json!({"worker": id, "started_ms": 1, "models": models}).to_string());
    }
    // Names of nobody, a name that is none, and a key of another kind.
    redis.ask(&["EVAL", "for i = 1, 20000 do redis.call('SADD', KEYS[1], 'w' .. i) end", "1", WORKERS]);
    redis.ask(&["SADD", WORKERS, &"a".repeat(1_000_000), "list"]);
    redis.ask(&["RPUSH", "glassbox:queue1:worker:list", "x"]);
    // Some of those that are small enough fit, and the true worker does.
    eventually("some are left out", async || (21.0..70.0).contains(&left_out(&api, "worker"))).await;
    assert_eq!(api.predict(doubler(json!([1]))).await, json!([2.0]));
    eventually("names of nobody are forgotten", async || redis.ask(&["SCARD", WORKERS]) == ":71\r\n").await;
    assert_eq!(api.series("queue_workers{model=\"doubler\"}"), Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_larger_than_any_are_dropped_and_those_behind_them_are_taken() {
    let redis = Redis::start();
    let _worker = worker(&redis);
    let api = api(&redis).await;
    until_ready(&api).await;
    api.predict(doubler(json!([1]))).await;
    let add = |stream: &str, count: &str, megabytes: &str| {
        let script = "local value = string.rep(string.rep('x', 1000000), tonumber(ARGV[2]))
        for i = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], '*', 'a', value) end";
        redis.ask(&["EVAL", script, "1", stream, count, megabytes]);
    };
    let many_fields = "local fields = {}
        for i = 1, 4000 do fields[i] = 'x' end
        redis.call('XADD', KEYS[1], '*', unpack(fields))";
    let [mut entries, answers] = ["entries", "answers"].map(|kind| redis.keys(&format!("glassbox:queue1:{kind}")));
    // One model's are enough.
    entries.truncate(1);
    for stream in entries.iter().chain(&answers) {
        add(stream, "2", "45");
        for _ in 0..6 {
            redis.ask(&["EVAL", many_fields, "1", stream]);
        }
    }
    let late = api.series("queue_late_answers_total").unwrap();
    for stream in &answers {
        add(stream, "100", "1");
    }
    eventually("those behind them are taken", async || api.series("queue_late_answers_total").unwrap() >= late + 100.0)
        .await;
    for stream in entries.iter().chain(&answers) {
        eventually("the streams are empty", async || redis.ask(&["XLEN", stream]) == ":0\r\n").await;
    }
    let again = async || api.post("/v1/predict", doubler(json!([2]))).await.0 == 200;
    eventually("predictions go on", again).await;
}

#[test]
fn dead_letters_of_any_size_are_listed() {
    let redis = Redis::start();
    let script = "local small = string.rep(string.rep('x', 1000000), 6)
    redis.call('XADD', KEYS[1], '*', 'e', string.rep(small, 6), 's', 'large', 'n', 3)
    redis.call('XADD', KEYS[1], '*', 'e', small, 's', 'small', 'n', 3)
    redis.call('XADD', KEYS[1], '*', 'e', small, 's', 'small', 'n', 3)";
    redis.ask(&["EVAL", script, "1", "glassbox:queue1:dead"]);
    let mut list = glassbox(&["queue", "dead", "list"]);
    list.env(variable("redis.url"), redis.url()).env(variable("queue.timeout"), "30s");
    let listed = run(&mut list);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert_eq!(listed.stdout.matches("6000000").count(), 2, "{}", listed.stdout);
}

/// Says for a while that a worker lives.
fn beat(redis: &Redis, id: &str, text: &str) {
    redis.ask(&["SET", &format!("glassbox:queue1:worker:{id}"), text, "PX", "600000"]);
    redis.ask(&["SADD", WORKERS, id]);
}

fn left_out(api: &TestApp, what: &str) -> f64 {
    api.series(&format!("queue_left_out{{what=\"{what}\"}}")).unwrap()
}

/// Models that have series of the queue.
async fn names(api: &TestApp) -> usize {
    let metrics = Metrics::of(api).await;
    let count = |family: &str| metrics.text().lines().filter(|line| line.starts_with(family)).count();
    assert_eq!(count("queue_requests_total{"), 4 * count("queue_workers{"));
    count("queue_workers{")
}
