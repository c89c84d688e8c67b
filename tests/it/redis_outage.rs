//! Redis is killed, frozen, cut off, slow, full or closed to us, while callers come and go: none of them notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use glassbox::config::CacheMode;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Metrics, Proxy, Redis, Server, TestApp, Weather, glassbox, variable};

/// Long enough for a busy machine, and far from what a caller would wait for a Redis that does not answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The promise is 5 s, where nothing else keeps the machine busy.
const RETURN: Duration = Duration::from_secs(60);

const CALLERS: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_costs_no_caller_anything_and_is_used_again_when_it_is_back() {
    let mut redis = Redis::start();
    let load = Load::begin(&redis.url()).await;
    redis.kill();
    load.until_left_alone("it cannot be reached").await;
    redis.restart(&[]);
    load.until_used_again().await;
    load.end(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_frozen_costs_a_caller_the_timeout_once() {
    let redis = Redis::start();
    let load = Load::begin(&redis.url()).await;
    redis.freeze();
    load.until_left_alone("it does not answer in time").await;
    redis.thaw();
    load.until_used_again().await;
    load.end(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_cut_delayed_or_swallowed_on_their_way_fail_nobody() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.addr);
    let load = Load::begin(&format!("redis://{}", proxy.addr)).await;
    for weather in [Weather::CutAfter(3), Weather::Delay(2 * TIMEOUT), Weather::Frozen, Weather::Down] {
        proxy.set(weather);
        load.until_left_alone("it ").await;
        proxy.set(Weather::Fair);
        load.until_used_again().await;
    }
    load.end(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_is_read_from_and_not_written_to() {
    let redis = Redis::with(&["--maxmemory-policy", "noeviction"]);
    let load = Load::begin(&redis.url()).await;
    load.until_known(7).await;
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    load.until_left_alone("it is full").await;
    let known = load.ask(7).await;
    assert_eq!((known.0, known.1.as_deref().map(|status| status.contains("glassbox-redis; hit"))), (200, Some(true)));
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    load.until_used_again().await;
    load.until_known(8).await;
    load.end(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_refuses_the_password_is_left_alone_until_it_takes_it() {
    let mut redis = Redis::start();
    let load = Load::begin(&redis.url()).await;
    redis.set_password("another one");
    // Who is in already may stay in.
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    load.until_left_alone("it refuses the user or the password").await;
    redis.set_password("");
    load.until_used_again().await;
    load.end(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_without_its_redis_and_finds_it_later() {
    let mut redis = Redis::start();
    redis.kill();
    let load = Load::begin_without(&redis.url()).await;
    load.until_left_alone("it cannot be reached").await;
    redis.restart(&[]);
    load.until_used_again().await;
    load.until_known(7).await;
    load.end(1).await;
}

#[test]
fn the_log_tells_each_change_once_and_never_the_password() {
    let mut redis = Redis::with(&["--requirepass", "hunter2"]);
    let url = format!("redis://:hunter2@{}/0", redis.addr);
    let mut command = glassbox(&["serve", "--config", "config/development.toml"]);
    let settings = [
        ("server.listen", "127.0.0.1:0"),
        ("cache.mode", "redis"),
        ("redis.url", &url),
        ("telemetry.log_filter", "trace"),
        ("telemetry.log_format", "json"),
    ];
    command.envs(settings.map(|(key, value)| (variable(key), value)));
    let mut server = Server::start(&mut command);
    redis.kill();
    let left_alone =
        |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with("redis is left alone"));
    // Once for reads and once for writes.
    let mut purposes = [server.until(left_alone), server.until(left_alone)].map(|line| line["purpose"].to_string());
    purposes.sort();
    assert_eq!(purposes, ["\"reads\"", "\"writes\""]);
    redis.restart(&["--requirepass", "hunter2"]);
    for _ in 0..2 {
        server.until(|line| line["message"] == "redis is used again");
    }
    assert_eq!(server.log.iter().filter(|line| left_alone(line)).count(), 2);
    let told = server.log.iter().find(|line| line.to_string().contains("hunter2"));
    assert!(told.is_none(), "{told:?}");
}

/// Callers who ask for something new all the time, so that every request looks into Redis.
struct Load {
    app: Arc<TestApp>,
    stop: Arc<AtomicBool>,
    next: Arc<AtomicU64>,
    callers: JoinSet<Vec<Duration>>,
}

impl Load {
    async fn begin(url: &str) -> Self {
        let load = Self::begin_without(url).await;
        load.until_used_again().await;
        load
    }

    /// Does not wait for Redis.
    async fn begin_without(url: &str) -> Self {
        let app = TestApp::with(|config| {
            config.cache.mode = CacheMode::Redis;
            config.redis.url = url.to_owned();
            config.redis.timeout = TIMEOUT;
        });
        let (app, stop) = (Arc::new(app.await), Arc::new(AtomicBool::new(false)));
        let next = Arc::new(AtomicU64::new(1000));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (app, stop, next) = (Arc::clone(&app), Arc::clone(&stop), Arc::clone(&next));
            callers.spawn(async move {
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let began = Instant::now();
                    let body = json!({"model": "doubler", "input": [n % 1_000_000]});
                    let answer = app.predict(body).await;
                    latencies.push(began.elapsed());
                    assert_eq!(answer, json!([(2 * (n % 1_000_000)) as f64]));
                }
                latencies
            });
        }
        Self { app, stop, next, callers }
    }

    /// Asks for the answer to a number that the callers do not use.
    async fn ask(&self, n: u64) -> (u16, Option<String>) {
        let request = self.app.request(Method::POST, "/v1/predict").json(&json!({"model": "doubler", "input": [n]}));
        let response = request.send().await.unwrap();
        let status = response.headers().get("cache-status").map(|status| status.to_str().unwrap().to_owned());
        (response.status().as_u16(), status)
    }

    /// Waits until the answer to `n` comes from Redis.
    async fn until_known(&self, n: u64) {
        self.until("it is found in Redis", RETURN, async || {
            self.ask(n).await.1.is_some_and(|status| status.contains("glassbox-redis; hit"))
        })
        .await;
    }

    /// Waits until the breaker is open, and sees that readiness says so without turning off.
    async fn until_left_alone(&self, reason: &str) {
        self.until(&format!("readiness says '{reason}'"), RETURN, async || {
            let (status, body) = self.app.get("/readyz").await;
            assert_eq!(status, StatusCode::OK, "{body}");
            let told = &body["reasons"][0];
            let so = told["reason"].as_str().is_some_and(|told| told.starts_with(reason));
            so && told["part"] == "redis" && body["status"] == "degraded"
        })
        .await;
        // Some requests later it is still so, and the callers do not wait for it.
        let seen = self.next.load(Ordering::Relaxed);
        self.until("requests go on", RETURN, async || self.next.load(Ordering::Relaxed) > seen + 50).await;
        assert_eq!(self.circuit_open().await, 1.0);
    }

    async fn until_used_again(&self) {
        self.until("Redis is used again", RETURN, async || self.circuit_open().await == 0.0).await;
        let missed = self.looked_up("miss").await;
        self.until("Redis is asked again", RETURN, async || self.looked_up("miss").await > missed).await;
        assert_eq!(self.app.get("/readyz").await.1, json!({"status": "ready", "reasons": []}));
    }

    /// Nobody was failed, and hardly anybody waited, in so many outages.
    async fn end(mut self, outages: u64) {
        self.stop.store(true, Ordering::Relaxed);
        let mut latencies = Vec::new();
        while let Some(caller) = self.callers.join_next().await {
            latencies.extend(caller.expect("no request failed"));
        }
        // A busy machine stands still for a moment now and then; who waited for Redis is counted below.
        latencies.sort_unstable();
        let slow = latencies[latencies.len() * 98 / 100];
        assert!(slow < TIMEOUT * 2, "one in fifty of {} took {slow:?}", latencies.len());
        let errors = self.looked_up("error").await;
        // Each time at most those who were waiting when it happened, and once more should a busy machine look like it.
        assert!(errors <= (outages * 2 * CALLERS) as f64, "{errors} requests waited in vain");
    }

    async fn circuit_open(&self) -> f64 {
        Metrics::of(&self.app).await.sum("cache_circuit_open", &["tier=\"redis\""])
    }

    async fn looked_up(&self, result: &str) -> f64 {
        let result = format!("result=\"{result}\"");
        Metrics::of(&self.app).await.sum("cache_lookups_total", &["tier=\"redis\"", &result])
    }

    async fn until(&self, what: &str, limit: Duration, condition: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + limit;
        while !condition().await {
            assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
