//! Workers are killed at random under load, and Redis is started anew in the middle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use super::{api, command_of, until_workers};
use crate::support::{Caller, Loop, Redis, Server, TestApp, until, variable};

/// How long workers are killed for; `GLASSBOX_CHAOS_SECONDS` says how long otherwise.
fn duration() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "a longer run of the same test, on demand")]
    let seconds = std::env::var("GLASSBOX_CHAOS_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15))
}

/// One worker is killed this often.
const EVERY: Duration = Duration::from_secs(3);

/// What callers saw.
#[derive(Default)]
struct Seen {
    right: AtomicUsize,
    refused: AtomicUsize,
    wrong: AtomicUsize,
    /// The most milliseconds that an answer took.
    slowest: AtomicUsize,
}

/// Callers that ask one question after the other until they are told to stop, each over a connection of its own.
fn callers(apis: &[&TestApp], stop: &Arc<AtomicBool>, seen: &Arc<Seen>) -> Vec<std::thread::JoinHandle<()>> {
    let caller = |number: usize| {
        let (addr, stop, seen) = (apis[number % apis.len()].addr, Arc::clone(stop), Arc::clone(seen));
        std::thread::spawn(move || {
            let mut connection = Caller::connect(addr);
            let mut turns = 10_000 + number as u64;
            while !stop.load(Ordering::Relaxed) {
                turns += 8;
                let started = Instant::now();
                // One answer to each question, or the test panics here: `post` reads exactly one.
                let answer = connection.post("/v1/predict", &json!({"model": "loop", "input": turns}));
                let took = usize::try_from(started.elapsed().as_millis()).unwrap();
                seen.slowest.fetch_max(took, Ordering::Relaxed);
                let kind = match answer.status {
                    // The answer to this question, and to no other.
                    200 if answer.body["prediction"] == turns => &seen.right,
                    503 | 504 => {
                        std::thread::sleep(Duration::from_millis(10));
                        &seen.refused
                    }
                    _ => {
                        eprintln!("{} {}", answer.status, answer.body);
                        &seen.wrong
                    }
                };
                kind.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    (0..8).map(caller).collect()
}

fn dead_letters(redis: &Redis) -> String {
    redis.ask(&["XLEN", "glassbox:queue1:dead"])
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_workers_at_random_loses_nothing_doubles_nothing_and_condemns_nothing() {
    let (redis, slow) = (Redis::start(), Loop::new());
    let start = || {
        let mut command = command_of(&redis, &slow.path());
        Server::start(command.env(variable("queue.heartbeat"), "300ms"))
    };
    let mut workers: Vec<Server> = (0..3).map(|_| start()).collect();
    let (one, other) = (api(&redis).await, api(&redis).await);
    until_workers(&one, "loop", 3).await;
    until_workers(&other, "loop", 3).await;
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
    let threads = callers(&[&one, &other], &stop, &seen);

    let began = Instant::now();
    let mut kills = 0;
    while began.elapsed() < duration() || kills < 3 {
        tokio::time::sleep(EVERY).await;
        // Any of them: the nanoseconds are nobody's choice.
        let victim = began.elapsed().subsec_nanos() as usize % workers.len();
        workers[victim].signal("KILL");
        workers[victim].ended();
        workers[victim] = start();
        kills += 1;
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());

    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let (right, refused, slowest) = (count(&seen.right), count(&seen.refused), count(&seen.slowest));
    println!("{kills} kills: {right} right, {refused} refused, the slowest after {slowest} ms");
    assert_eq!((count(&seen.wrong), refused), (0, 0), "{right} were right");
    assert!(right > 30 && kills >= 3, "{right} answers, {kills} kills");
    assert!(slowest < 90_000, "{slowest} ms");
    assert_eq!(dead_letters(&redis), ":0\r\n");
    for api in [&one, &other] {
        assert_eq!(api.series("queue_late_answers_total"), Some(0.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_redis_in_the_middle_refuses_only_while_it_is_away() {
    let (mut redis, slow) = (Redis::start(), Loop::new());
    let _workers: Vec<Server> = (0..2).map(|_| Server::start(&mut command_of(&redis, &slow.path()))).collect();
    let api = api(&redis).await;
    until_workers(&api, "loop", 2).await;
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
    let threads = callers(&[&api], &stop, &seen);
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    until("there is traffic", || count(&seen.right) > 50);
    assert_eq!(count(&seen.refused), 0);
    redis.kill();
    until("who asks is refused", || count(&seen.refused) > 50);
    redis.restart(&[]);
    let before = count(&seen.right);
    until("traffic goes on", || count(&seen.right) > before + 50);
    // Not a word of it any more once it is used again by everyone.
    let refused = count(&seen.refused);
    let right = count(&seen.right);
    until("more traffic", || count(&seen.right) > right + 100);
    assert!(count(&seen.refused) <= refused + 8, "{} after {refused}", count(&seen.refused));
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(count(&seen.wrong), 0);
    assert_eq!(dead_letters(&redis), ":0\r\n");
}
