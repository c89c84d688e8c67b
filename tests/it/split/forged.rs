//! What strangers leave in Redis.

use serde_json::json;

use super::{api, doubler, entries, until_ready, worker};
use crate::support::{Redis, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn strange_entries_answers_and_heartbeats_harm_nobody() {
    let redis = Redis::start();
    let worker = worker(&redis);
    let api = api(&redis).await;
    until_ready(&api).await;
    api.predict(doubler(json!([1]))).await;
    let mut strange = 0.0;
    for stream in redis.keys("glassbox:queue1:entries") {
        redis.ask(&["XADD", &stream, "*", "e", "GBE1 and then something else", "d", "60000"]);
        redis.ask(&["XADD", &stream, "*", "e", "GBE1", "d", "not a number"]);
        redis.ask(&["XADD", &stream, "*", "colour", "blue"]);
        strange += 3.0;
    }
    for stream in redis.keys("glassbox:queue1:answers") {
        redis.ask(&["XADD", &stream, "*", "a", "GBA1 and then something else"]);
        redis.ask(&["XADD", &stream, "*", "colour", "blue"]);
    }
    redis.ask(&["SADD", "glassbox:queue1:workers", "mallory", "../x"]);
    redis.ask(&["SET", "glassbox:queue1:worker:mallory", "{\"worker\": 1}"]);
    let models = json!({"doubler": {"default": "1", "fault": null, "versions": {
        "1": {"ready": {"fingerprint": "00", "description": "none"}}, "no version": "loading",
    }}});
    let beat = json!({"worker": "m", "started_ms": 99_999_999_999_999_u64, "models": models});
    redis.ask(&["SET", "glassbox:queue1:worker:../x", &beat.to_string()]);
    eventually("all of them were looked at", async || entries(&worker, "unreadable").await == strange).await;
    for number in 0..20 {
        assert_eq!(api.predict(doubler(json!([number]))).await, json!([f64::from(number) * 2.0]));
    }
}
