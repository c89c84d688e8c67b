//! Quotas of keys: each its own, at its plan's rate, whatever others do.

use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{limited, retry_after};
use crate::support::{Caller, TestApp, eventually};

/// Keys of four plans, and the server that knows them. Strangers have 1 request per second and 5 at once.
struct Keyed {
    app: TestApp,
    _folder: TempDir,
}

const PLANS: &str = "
[plans.slow]
rate = 10
burst = 20
concurrent = 4

[plans.quick]
rate = 100
burst = 10
concurrent = 4

[plans.single]
rate = 1000
burst = 1000
concurrent = 1
";

/// The key whose id ends with `n`, all with secrets of their own.
fn key(n: u8) -> String {
    format!("gb_{}_{}", id(n), secret(n))
}

fn id(n: u8) -> String {
    format!("{n:012x}")
}

fn secret(n: u8) -> String {
    format!("{:048x}", u128::from(n) << 8)
}

impl Keyed {
    /// One key of each of these plans, the first is number 0.
    async fn start(plans: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut text = PLANS.to_owned();
        for (n, plan) in (0..).zip(plans) {
            let hash: String = Sha256::digest(secret(n)).iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("\n[[keys]]\nid = \"{}\"\nname = \"of {plan}\"\nsecret_sha256 = \"{hash}\"\n", id(n));
            text += &format!("scopes = [\"predict\"]\nplan = \"{plan}\"\n");
        }
        let file = folder.path().join("keys.toml");
        std::fs::write(&file, text).unwrap();
        let app = limited(1, 5, |config| config.auth.keys_file = Some(file)).await;
        Self { app, _folder: folder }
    }

    async fn ask(&self, n: u8) -> Response {
        self.ask_with(&key(n)).await
    }

    async fn ask_with(&self, key: &str) -> Response {
        self.app.request(Method::GET, "/v1/models").header("X-API-Key", key).send().await.unwrap()
    }

    async fn batch(&self, n: u8, items: usize) -> Response {
        let body = json!({"inputs": vec![json!([1.0]); items]});
        let request = self.app.request(Method::POST, "/v1/predict_batch").json(&body);
        request.header("X-API-Key", key(n)).send().await.unwrap()
    }
}

fn remaining(headers: &HeaderMap, plan: &str) -> u32 {
    let text = headers["ratelimit"].to_str().unwrap();
    let left = text.strip_prefix(&format!("\"{plan}\";r=")).and_then(|rest| rest.strip_suffix(";t=1"));
    left.and_then(|left| left.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_has_its_plans_burst_and_rate_whatever_others_do() {
    let keyed = Keyed::start(&["slow", "slow", "quick"]).await;
    let started = Instant::now();
    for n in 0..20 {
        let response = keyed.ask(0).await;
        assert_eq!(response.status(), StatusCode::OK, "request {n} of the burst");
        assert_eq!(response.headers()["ratelimit-policy"], "\"slow\";q=20;w=2");
        assert!(remaining(response.headers(), "slow") >= 19 - n, "{response:?}");
    }
    let (mut slow, mut quick) = (0, 0);
    while started.elapsed() < Duration::from_secs(5) {
        slow += i32::from(keyed.ask(0).await.status() == StatusCode::OK);
        quick += i32::from(keyed.ask(2).await.status() == StatusCode::OK);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let (slow, quick) = (f64::from(slow), f64::from(quick));
    // What came in a pause of the machine's may be lost: the burst holds no more. Nothing comes on top.
    assert!((seconds * 5.0..=seconds * 10.0 + 1.0).contains(&slow), "{slow} of the slow key in {seconds} s");
    // Its burst does; and it is asked as often as the other, which may be less often than it could be.
    assert!(quick >= slow && quick <= seconds * 100.0 + 11.0, "{quick} of the quick key in {seconds} s");

    // The plan's other key has its whole burst still.
    for n in 0..20 {
        assert_eq!(keyed.ask(1).await.status(), StatusCode::OK, "request {n} of the other key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_waits_as_long_as_it_is_told_is_let_in() {
    let keyed = Keyed::start(&["slow"]).await;
    let mut response = keyed.ask(0).await;
    while response.status() == StatusCode::OK {
        response = keyed.ask(0).await;
    }
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(remaining(response.headers(), "slow"), 0);
    let wait = retry_after(&response);
    let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(problem["detail"], "the quota 'slow' of 10 items per second and 20 at once is used up");
    tokio::time::sleep(wait).await;
    assert_eq!(keyed.ask(0).await.status(), StatusCode::OK);

    let response = keyed.batch(0, 20).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    tokio::time::sleep(retry_after(&response)).await;
    assert_eq!(keyed.batch(0, 20).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_costs_a_key_its_items() {
    let keyed = Keyed::start(&["slow"]).await;
    let response = keyed.batch(0, 15).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!((5..20).contains(&remaining(response.headers(), "slow")), "{response:?}");
    let response = keyed.batch(0, 21).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(problem["errors"][0]["code"], "batch_exceeds_quota");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_only_so_many_requests_at_the_same_time() {
    let keyed = Keyed::start(&["single", "single"]).await;
    let body = json!({"input": [1.0]}).to_string();
    let mut caller = Caller::connect(keyed.app.addr);
    caller.send("POST /v1/predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n");
    caller.send(&format!("X-API-Key: {}\r\nContent-Length: {}\r\n\r\n", key(0), body.len()));
    // Whoever came in between would be let in, and the first one refused.
    eventually("the server has seen it", async || keyed.app.series("http_requests_in_flight") == Some(1.0)).await;
    let refused = keyed.ask(0).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(retry_after(&refused), Duration::from_secs(1));
    let problem: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(problem["detail"], "the quota 'single' allows 1 requests at the same time");
    assert_eq!(keyed.ask(1).await.status(), StatusCode::OK);
    caller.send(&body);
    assert_eq!(caller.answer().status, 200);
    assert_eq!(keyed.ask(0).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_keys_is_limited_and_a_valid_key_from_the_same_address_is_not() {
    let keyed = Keyed::start(&["single"]).await;
    let (mut unauthenticated, mut limited) = (0, 0);
    for n in 100..150 {
        let response = keyed.ask(n).await;
        match response.status() {
            StatusCode::UNAUTHORIZED => unauthenticated += 1,
            StatusCode::TOO_MANY_REQUESTS => {
                assert!(retry_after(&response) >= Duration::from_secs(1));
                assert!(response.headers()["ratelimit"].to_str().unwrap().starts_with("\"address\";r=0"));
                limited += 1;
            }
            other => panic!("an unknown key is answered with {other}"),
        }
        assert_eq!(keyed.ask(0).await.status(), StatusCode::OK, "the valid key");
    }
    assert!(unauthenticated >= 5 && limited >= 20, "{unauthenticated} times 401, {limited} times 429");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(keyed.app.get(path).await.0, StatusCode::OK);
    }
}

/// An item can bring several rows; they are as much work as several items.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_request_cost_their_number() {
    let keyed = Keyed::start(&["slow"]).await;
    let ask = async |rows: usize| {
        let input = vec![[1.0, 2.0]; rows];
        let request = keyed.app.request(Method::POST, "/v1/predict").header("X-API-Key", key(0));
        request.json(&json!({"model": "doubler", "input": input})).send().await.unwrap()
    };
    assert_eq!(ask(15).await.status(), StatusCode::OK);
    assert_eq!(ask(15).await.status(), StatusCode::TOO_MANY_REQUESTS);
    let too_many = ask(21).await;
    assert_eq!(too_many.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem: Value = too_many.json().await.unwrap();
    assert_eq!(problem["errors"][0]["code"], "batch_exceeds_quota", "{problem}");
}
