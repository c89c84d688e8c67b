//! Memory and Redis: what is where, how much of it, and what is believed of it.

use bytesize::ByteSize;
use glassbox::config::CacheMode;
use serde_json::json;

use super::{doubler, keep_in, lookups, predict, predict_batch, predicted};
use crate::support::{Metrics, Redis, TestApp, eventually, until};

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_share_a_redis_find_each_others_answers() {
    for mode in [CacheMode::Redis, CacheMode::Tiered] {
        let redis = Redis::start();
        let one = TestApp::with(|config| keep_in(config, mode, &redis)).await;
        let other = TestApp::with(|config| keep_in(config, mode, &redis)).await;
        let bodies = [
            doubler(json!([1, 2])),
            json!({"model": "toxicity", "text": "you are awful"}),
            json!({"model": "multi_io", "input": {"amount": [5, 1], "category": [2]}}),
            json!({"model": "linear_regression", "input": [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]}),
        ];
        let mut answers = Vec::new();
        for body in &bodies {
            answers.push(predict(&one, body).await.body["prediction"].clone());
        }
        until("all answers are written", || redis.keys("glassbox:").len() == bodies.len());
        for (body, answer) in bodies.iter().zip(&answers) {
            let seen = predict(&other, body).await;
            assert!(seen.says("glassbox-redis; hit; ttl="), "{mode:?}: {seen:?}");
            assert_eq!((&seen.body["prediction"], &seen.body["cached"]), (answer, &json!(true)));
        }
        assert_eq!(predicted(&other, "computed").await, 0.0);
        assert_eq!(lookups(&other, "redis", "hit").await, 4.0);
        // Memory has learned it.
        let again = predict(&other, &bodies[0]).await;
        let tier = if mode == CacheMode::Tiered { "glassbox-memory; hit" } else { "glassbox-redis; hit" };
        assert!(again.says(tier), "{mode:?}: {again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_user_that_may_do_only_what_is_needed_is_enough() {
    let redis = Redis::start();
    redis.ask(&["ACL", "SETUSER", "glass", "on", ">pane", "~glassbox:*", "-@all", "+ping", "+getrange", "+set"]);
    let app = TestApp::with(|config| {
        keep_in(config, CacheMode::Redis, &redis);
        config.redis.url = format!("redis://glass:pane@{}", redis.addr);
    })
    .await;
    let is_kept = async || predict(&app, &doubler(json!([1]))).await.says("glassbox-redis; hit");
    eventually("the answer is kept", is_kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_each_item_from_where_it_is() {
    let redis = Redis::start();
    let one = TestApp::with(|config| keep_in(config, CacheMode::Tiered, &redis)).await;
    let other = TestApp::with(|config| keep_in(config, CacheMode::Tiered, &redis)).await;
    let inputs = |inputs| json!({"model": "doubler", "inputs": inputs});
    predict_batch(&one, &inputs(json!([[1], [2]]))).await;
    until("both are written", || redis.keys("glassbox:").len() == 2);
    predict(&other, &doubler(json!([3]))).await;
    let seen = predict_batch(&other, &inputs(json!([[4], [3], [2], [1]]))).await;
    let items = seen.body["predictions"].as_array().unwrap();
    let got: Vec<_> = items.iter().map(|item| (item["prediction"][0].as_f64().unwrap(), &item["cached"])).collect();
    let (yes, no) = (&json!(true), &json!(false));
    assert_eq!(got, [(8.0, no), (6.0, yes), (4.0, yes), (2.0, yes)]);
    assert_eq!((predicted(&other, "memory").await, predicted(&other, "redis").await), (1.0, 2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_under_a_key_is_checked_before_it_is_believed() {
    let redis = Redis::start();
    let app = TestApp::with(|config| keep_in(config, CacheMode::Redis, &redis)).await;
    let (input, other) = (doubler(json!([1, 2])), doubler(json!([3])));
    let expected = json!([2.0, 4.0]);
    predict(&app, &input).await;
    until("it is written", || redis.keys("glassbox:").len() == 1);
    let key = redis.keys("glassbox:").remove(0);
    predict(&app, &other).await;
    until("both are written", || redis.keys("glassbox:").len() == 2);
    let other = redis.keys("glassbox:").into_iter().find(|name| *name != key).unwrap();
    for (name, spoil) in [
        ("garbage", &(|| redis.set_bytes(&key, b"garbage")) as &dyn Fn()),
        ("nothing", &|| redis.set_bytes(&key, b"")),
        ("64 megabytes of nothing", &|| drop(redis.ask(&["SETRANGE", &key, "67108864", "x"]))),
        ("the magic alone", &|| redis.set_bytes(&key, b"GBX1")),
        ("a megabyte of ones", &|| redis.set_bytes(&key, &vec![255; 1 << 20])),
        ("a changed byte", &|| drop(redis.ask(&["SETRANGE", &key, "40", "x"]))),
        ("a cut value", &|| drop(redis.ask(&["EVAL", CUT, "1", &key]))),
        ("a longer value", &|| drop(redis.ask(&["APPEND", &key, "x"]))),
        ("another key's value", &|| drop(redis.ask(&["COPY", &other, &key, "REPLACE"]))),
        ("a list", &|| {
            redis.ask(&["DEL", &key]);
            redis.ask(&["RPUSH", &key, "x"]);
        }),
    ] {
        spoil();
        let seen = predict(&app, &input).await;
        assert_eq!((seen.status, &seen.body["prediction"]), (200, &expected), "{name}");
        assert!(seen.says("fwd=miss; stored"), "{name}: {seen:?}");
        // What could not be believed is replaced.
        until("it is mended", || redis.ask(&["TYPE", &key]) == "+string\r\n");
        eventually(name, async || predict(&app, &input).await.says("hit")).await;
    }
    // A list is no answer, which Redis itself says, and nothing is none; all others were read and not believed.
    assert!(lookups(&app, "redis", "error").await >= 8.0);
    assert_eq!(Metrics::of(&app).await.sum("cache_circuit_open", &[]), 0.0);
    assert_eq!(app.get("/readyz").await.1["status"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_into_memory_is_measured_once_for_each_request() {
    let app = TestApp::start().await;
    let looks = async || {
        let labels = ["tier=\"memory\"", "operation=\"get\""];
        Metrics::of(&app).await.sum("cache_operation_seconds_count", &labels)
    };
    for (words, expected) in [("fwd=miss", 1.0), ("hit", 2.0)] {
        assert!(predict(&app, &doubler(json!([1]))).await.says(words));
        assert_eq!(looks().await, expected, "{words}");
    }
}

/// Takes the last byte off a value.
const CUT: &str = "local v = redis.call('GET', KEYS[1]) return redis.call('SET', KEYS[1], string.sub(v, 1, -2))";

#[tokio::test(flavor = "multi_thread")]
async fn memory_takes_no_more_than_its_capacity() {
    const CAPACITY: u64 = 1 << 20;
    let app = TestApp::with(|config| config.cache.capacity = ByteSize::b(CAPACITY)).await;
    for first in (0..20_000).step_by(500) {
        let inputs: Vec<_> = (first..first + 500).map(|n| json!([n, n, n, n])).collect();
        let seen = predict_batch(&app, &json!({"model": "doubler", "inputs": inputs})).await;
        assert_eq!(seen.status, 200);
    }
    let metrics = Metrics::of(&app).await;
    let (entries, bytes) = (metrics.sum("cache_entries", &[]), metrics.sum("cache_bytes", &[]));
    assert!(entries > 100.0 && bytes > 0.0 && bytes <= CAPACITY as f64, "{entries} entries, {bytes} bytes");
    assert!(metrics.sum("cache_evictions_total", &[]) + entries >= 20_000.0, "the rest was given up");
}
