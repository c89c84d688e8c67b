//! Entries that end every worker that takes them.

use serde_json::json;

use super::{api, command_of, entries, holder, until_workers};
use crate::support::{Loop, Redis, Server, eventually, glassbox, run, variable};

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_ends_its_workers_is_given_up_shown_and_given_out_again() {
    let (redis, slow) = (Redis::start(), Loop::new());
    let start = || {
        let mut command = command_of(&redis, &slow.path());
        Server::start(command.env(variable("queue.max_deliveries"), "2"))
    };
    let queue = |args: &[&str]| {
        let args: Vec<&str> = ["queue", "dead"].iter().chain(args).copied().collect();
        let finished = run(glassbox(&args).env(variable("redis.url"), redis.url()));
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished.stdout
    };
    let mut workers: Vec<Server> = (0..3).map(|_| start()).collect();
    let api = api(&redis).await;
    until_workers(&api, "loop", 3).await;
    let poison = async {
        let (status, body) = api.post("/v1/predict", json!({"model": "loop", "input": 2_000_000_000_u64})).await;
        assert_eq!((status.as_u16(), &body["code"]), (500, &json!("internal")), "{body}");
    };
    let killer = async {
        for event in ["claimed", "redelivered"] {
            let mut holder = workers.remove(holder(&workers, event).await);
            holder.signal("KILL");
            holder.ended();
        }
        workers.remove(0)
    };
    let ((), worker) = tokio::join!(poison, killer);
    assert_eq!((entries(&worker, "dead").await, entries(&worker, "redelivered").await), (1.0, 0.0));
    eventually("it is measured", async || api.series("queue_dead_letters") == Some(1.0)).await;
    // The worker lives, and works.
    assert_eq!(api.predict(json!({"model": "loop", "input": 3})).await, 3);

    let listed = queue(&["list"]);
    let id = listed.split_whitespace().find(|word| word.contains('-') && word.starts_with(char::is_numeric)).unwrap();
    assert!(!listed.contains("2000000000"), "{listed}");
    assert!(queue(&["requeue", id]).starts_with('1'));
    assert!(!queue(&["list"]).contains(id));
    eventually("a worker has it again", async || entries(&worker, "claimed").await >= 2.0).await;
    let wrong = run(glassbox(&["queue", "dead", "drop", "1-1"]).env(variable("redis.url"), redis.url()));
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.stderr.contains("no such entry"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_whose_caller_has_left_is_never_given_up() {
    let (redis, slow) = (Redis::start(), Loop::new());
    let start = || {
        let mut command = command_of(&redis, &slow.path());
        Server::start(command.env(variable("queue.max_deliveries"), "2"))
    };
    let mut worker = start();
    let api = api(&redis).await;
    until_workers(&api, "loop", 1).await;
    let request = api.request(reqwest::Method::POST, "/v1/predict").header("X-Request-Timeout", "900ms");
    let request = request.json(&json!({"model": "loop", "input": 2_000_000_000_u64}));
    let killer = async {
        eventually("the worker has it", async || entries(&worker, "claimed").await == 1.0).await;
        worker.signal("KILL");
        worker.ended();
        start()
    };
    let (answer, worker) = tokio::join!(request.send(), killer);
    assert_eq!(answer.unwrap().status(), 504);
    let stream = redis.keys("glassbox:queue1:entries").remove(0);
    eventually("nothing of it is left", async || {
        redis.ask(&["XLEN", &stream]) == ":0\r\n"
            && redis.ask(&["XPENDING", &stream, "workers"]).starts_with("*4\r\n:0")
    })
    .await;
    assert_eq!(
        (entries(&worker, "dead").await, redis.ask(&["EXISTS", "glassbox:queue1:dead"])),
        (0.0, ":0\r\n".into())
    );
}
