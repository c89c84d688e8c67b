//! Workers that end, one way or the other, while they hold something.

use std::time::Duration;

use serde_json::json;

use super::{api, api_with, command_of, entries, holder, until_workers, worker_of};
use crate::support::{Loop, Redis, Server, TestApp, eventually, glassbox, run, variable};

/// Some seconds of work.
const TURNS: u64 = 10_000_000;

/// An API server, and so many workers.
async fn served(redis: &Redis, slow: &Loop, workers: usize) -> (TestApp, Vec<Server>) {
    let workers: Vec<Server> = (0..workers).map(|_| worker_of(redis, &slow.path())).collect();
    let api = api(redis).await;
    until_workers(&api, "loop", workers.len()).await;
    (api, workers)
}

/// Asks for those seconds of work, and sees that the answer is right.
async fn ask(api: &TestApp) {
    let (status, body) = api.post("/v1/predict", json!({"model": "loop", "input": TURNS})).await;
    assert_eq!((status.as_u16(), &body["prediction"]), (200, &json!(TURNS)), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_held_is_answered_by_another_once() {
    let (redis, slow) = (Redis::start(), Loop::new());
    let (api, mut workers) = served(&redis, &slow, 2).await;
    let asked = ask(&api);
    let die = async {
        let mut holder = workers.remove(holder(&workers, "claimed").await);
        holder.signal("KILL");
        holder.ended();
    };
    tokio::join!(asked, die);
    eventually("it is counted", async || entries(&workers[0], "answered").await == 1.0).await;
    assert_eq!(entries(&workers[0], "redelivered").await, 1.0);
    assert_eq!(api.series("queue_late_answers_total"), Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_frozen_and_comes_back_answers_nothing_twice() {
    let (redis, slow) = (Redis::start(), Loop::new());
    let (api, mut workers) = served(&redis, &slow, 2).await;
    let asked = ask(&api);
    let freeze = async {
        let first = workers.remove(holder(&workers, "claimed").await);
        first.signal("STOP");
        first
    };
    let ((), first) = tokio::join!(asked, freeze);
    first.signal("CONT");
    // It ends what it was at, and learns that it was late, or that the entry is gone.
    eventually("the first worker holds nothing", async || {
        entries(&first, "late").await + entries(&first, "cancelled").await == 1.0
    })
    .await;
    eventually("it is counted", async || entries(&workers[0], "answered").await == 1.0).await;
    assert_eq!(entries(&first, "answered").await, 0.0);
    assert_eq!(api.series("queue_late_answers_total"), Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_stop_ends_what_it_holds_and_leaves() {
    let (redis, slow) = (Redis::start(), Loop::new());
    let (api, mut workers) = served(&redis, &slow, 1).await;
    let mut worker = workers.remove(0);
    let asked = ask(&api);
    let stop = async {
        eventually("the worker holds it", async || entries(&worker, "claimed").await == 1.0).await;
        worker.signal("TERM");
        // While it ends what it holds.
        until_workers(&api, "loop", 0).await;
        let (status, body) = api.post("/v1/predict", json!({"model": "loop", "input": 1})).await;
        assert_eq!((status.as_u16(), &body["code"]), (503, &json!("model_not_ready")), "{body}");
    };
    tokio::join!(asked, stop);
    assert!(worker.ended().success());
    assert_eq!(redis.keys("glassbox:queue1:worker"), Vec::<String>::new());
    let stream = redis.keys("glassbox:queue1:entries").remove(0);
    assert_eq!(redis.ask(&["XINFO", "CONSUMERS", &stream, "workers"]), "*0\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_takes_longer_than_claim_after_stays_with_its_worker() {
    let (redis, slow) = (Redis::start(), Loop::new());
    let workers = [worker_of(&redis, &slow.path()), worker_of(&redis, &slow.path())];
    let api = api_with(&redis, |config| config.server.request_timeout = Duration::from_secs(3)).await;
    until_workers(&api, "loop", 2).await;
    // Taken over after 1 s, if it were.
    let body = json!({"model": "loop", "input": 2_000_000_000_u64});
    assert_eq!(api.post("/v1/predict", body).await.0, 504);
    for worker in &workers {
        assert_eq!(entries(worker, "redelivered").await, 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_another_kind_are_answered_by_their_own_workers() {
    // Two workers with other files under one name: no answer of one is taken for one of the other.
    let (redis, slow) = (Redis::start(), Loop::new());
    let folder = tempfile::TempDir::new().unwrap();
    let other = folder.path().join("loop.onnx");
    crate::support::python("python/loop_graph.py", &[other.to_str().unwrap(), "endless"], "");
    let _first = worker_of(&redis, &slow.path());
    let _second = Server::start(&mut command_of(&redis, &other));
    let api = api(&redis).await;
    until_workers(&api, "loop", 2).await;
    assert_eq!(redis.keys("glassbox:queue1:version").len(), 2);
    let digests = async || api.get("/v1/models/loop").await.1["digest"].clone();
    let first = digests().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(digests().await, first, "the choice between them does not waver");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_never_reached_the_worker_it_was_given_to_is_run_all_the_same() {
    let (redis, slow) = (Redis::start(), Loop::new());
    let mut command = command_of(&redis, &slow.path());
    // Nobody takes it for dead meanwhile.
    command.env(variable("queue.heartbeat"), "2s").env(variable("queue.claim_after"), "4s");
    let worker = Server::start(&mut command);
    let api = api(&redis).await;
    until_workers(&api, "loop", 1).await;
    let mut check = glassbox(&["healthcheck", "--worker"]);
    let check = run(check.env(variable("queue.worker_listen"), worker.addr.to_string()));
    assert_eq!(check.code, Some(0), "{check:?}");
    worker.signal("STOP");
    // Its look for entries ends; that of the API server for answers goes on.
    eventually("the worker waits for nothing", async || {
        !redis
            .ask(&["CLIENT", "LIST"])
            .lines()
            .any(|client| client.contains("cmd=xreadgroup") && client.contains("flags=b"))
    })
    .await;
    let asked = api.post("/v1/predict", json!({"model": "loop", "input": 7}));
    let taken = async {
        let stream = redis.keys("glassbox:queue1:entries").remove(0);
        eventually("it lies in the stream", async || redis.ask(&["XLEN", &stream]) == ":1\r\n").await;
        let beat = redis.keys("glassbox:queue1:worker:").remove(0);
        let id = beat.rsplit(':').next().unwrap();
        let got = redis.ask(&["XREADGROUP", "GROUP", "workers", id, "COUNT", "1", "STREAMS", &stream, ">"]);
        assert!(got.contains("GBE1"), "{got:?}");
        worker.signal("CONT");
    };
    let ((status, body), ()) = tokio::join!(asked, taken);
    assert_eq!((status.as_u16(), &body["prediction"]), (200, &json!(7)), "{body}");
}
