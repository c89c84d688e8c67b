//! The Redis between the roles goes, freezes, and forgets everything.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{api_with, doubler, until_ready, worker, worker_command};
use crate::support::{PATIENCE, Redis, Server, eventually, variable};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_redis_is_503_within_the_timeout_and_all_works_again_by_itself() {
    let mut redis = Redis::start();
    let worker = worker(&redis);
    let api = api_with(&redis, |config| config.queue.timeout = Duration::from_secs(1)).await;
    until_ready(&api).await;
    for frozen in [false, true] {
        api.predict(doubler(json!([1]))).await;
        if frozen {
            redis.freeze()
        } else {
            redis.kill()
        }
        for _ in 0..5 {
            let started = Instant::now();
            let (status, body) = api.post("/v1/predict", doubler(json!([1]))).await;
            assert_eq!((status.as_u16(), &body["code"]), (503, &json!("dependency_unavailable")), "{body}");
            // A request may take PATIENCE.
            assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
        }
        eventually("readiness says it", async || {
            let (status, body) = api.get("/readyz").await;
            status == 503 && body["reasons"].to_string().contains("queue")
        })
        .await;
        let probe = reqwest::get(format!("http://{}/readyz", worker.addr)).await.unwrap();
        assert!(probe.status() == 503 || probe.status() == 200);
        if frozen {
            redis.thaw()
        } else {
            redis.restart(&[])
        }
        let again = async || api.post("/v1/predict", doubler(json!([2]))).await.0 == 200;
        eventually("predictions go on", again).await;
        until_ready(&api).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_everything_is_used_on() {
    let redis = Redis::start();
    let _worker = worker(&redis);
    let api = api_with(&redis, |_| {}).await;
    until_ready(&api).await;
    for _ in 0..3 {
        api.predict(doubler(json!([1]))).await;
        redis.ask(&["FLUSHALL"]);
        let again = async || api.post("/v1/predict", doubler(json!([2]))).await.0 == 200;
        eventually("predictions go on", again).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_redis_lost_is_told_so_long_before_its_deadline() {
    let redis = Redis::start();
    let mut command = worker_command(&redis);
    // Nobody takes it for dead meanwhile.
    command.env(variable("queue.heartbeat"), "20s").env(variable("queue.claim_after"), "40s");
    let worker = Server::start(&mut command);
    let api = api_with(&redis, |_| {}).await;
    until_ready(&api).await;
    worker.signal("STOP");
    let asked = async {
        let started = Instant::now();
        let (status, body) = api.post("/v1/predict", doubler(json!([1]))).await;
        assert_eq!((status.as_u16(), &body["code"]), (503, &json!("dependency_unavailable")), "{body}");
        assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    };
    let lose = async {
        let mut streams = Vec::new();
        eventually("it lies in the stream", async || {
            streams = redis.keys("glassbox:queue1:entries");
            streams.iter().any(|stream| redis.ask(&["XLEN", stream]) == ":1\r\n")
        })
        .await;
        for stream in streams {
            redis.ask(&["DEL", &stream]);
        }
    };
    tokio::join!(asked, lose);
    worker.signal("CONT");
}
