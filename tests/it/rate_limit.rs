//! Quotas of addresses: what is let in, what is refused, and what the headers tell of it. All callers here come from
//! 127.0.0.1, or say that they are proxies for others.

mod keys;

use std::time::{Duration, Instant};

use glassbox::config::Config;
use reqwest::{Method, Response, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::{Caller, TestApp, TestAppBuilder, eventually, project, serve_files};

/// A server of one small model, where an address has `rate` items per second and `burst` at once.
async fn limited(rate: u32, burst: u32, change: impl FnOnce(&mut Config)) -> TestApp {
    let app = TestAppBuilder::new(|config| {
        serve_files(config, vec![project().join("model/doubler/1/model.onnx")]);
        config.rate_limit.enabled = true;
        config.rate_limit.address_rate = rate;
        config.rate_limit.address_burst = burst;
        change(config);
    });
    let app = app.start().await;
    // The probe has no limit; asking for the models would use the quota up.
    eventually("the model is loaded", async || app.get("/readyz").await.0 == StatusCode::OK).await;
    app
}

fn behind_a_proxy(config: &mut Config) {
    config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
}

/// The cheapest request that costs something.
async fn ask(app: &TestApp) -> Response {
    app.request(Method::GET, "/v1/models").send().await.unwrap()
}

async fn ask_for(app: &TestApp, forwarded: &str) -> StatusCode {
    let request = app.request(Method::GET, "/v1/models").header("X-Forwarded-For", forwarded);
    request.send().await.unwrap().status()
}

async fn batch(app: &TestApp, items: usize) -> Response {
    let body = json!({"inputs": vec![json!([1.0]); items]});
    app.request(Method::POST, "/v1/predict_batch").json(&body).send().await.unwrap()
}

/// What is left, as `RateLimit` tells it.
fn remaining(headers: &HeaderMap) -> u32 {
    let text = headers["ratelimit"].to_str().unwrap();
    let left = text.strip_prefix("\"address\";r=").and_then(|rest| rest.strip_suffix(";t=1"));
    left.and_then(|left| left.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

fn retry_after(response: &Response) -> Duration {
    let seconds = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(seconds >= 1);
    Duration::from_secs(seconds)
}

async fn until_refused(app: &TestApp) -> Response {
    for _ in 0..1000 {
        let response = ask(app).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            return response;
        }
    }
    panic!("1000 requests are let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_gets_its_burst_at_once_and_then_its_rate() {
    let app = limited(10, 20, |_| {}).await;
    let (started, mut accepted) = (Instant::now(), 0);
    for n in 0..20 {
        assert_eq!(ask(&app).await.status(), StatusCode::OK, "request {n} of the burst");
        accepted += 1;
    }
    while started.elapsed() < Duration::from_secs(5) {
        accepted += i32::from(ask(&app).await.status() == StatusCode::OK);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What came in a pause of the machine's may be lost: the burst holds no more. Nothing comes on top.
    let most = 10.0 * started.elapsed().as_secs_f64() + 1.0;
    let got = f64::from(accepted - 20);
    assert!((most / 2.0..=most).contains(&got), "{got} after the burst instead of {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_what_is_left() {
    let app = limited(1, 5, |_| {}).await;
    let started = Instant::now();
    for n in 1..=5 {
        let response = ask(&app).await;
        assert_eq!(response.headers()["ratelimit-policy"], "\"address\";q=5;w=5");
        // One item is added per second, should this take so long.
        let added = started.elapsed().as_secs() as u32;
        assert!((5 - n..=5 - n + added).contains(&remaining(response.headers())), "after {n}: {response:?}");
        assert!(!response.headers().contains_key("retry-after"));
        assert!(!response.headers().contains_key("x-ratelimit-limit"));
    }
    // Failures tell it too, whoever answers: the handler, the body's reader, the deadline.
    let app = limited(1, 100, |_| {}).await;
    let post = |body: &str| app.request(Method::POST, "/v1/predict").body(body.to_owned());
    let json = |body: &str| post(body).header("Content-Type", "application/json");
    let endless = reqwest::Body::wrap(Endless);
    for (request, status) in [
        (app.request(Method::GET, "/v1/models/none"), 404),
        (json(r#"{"input": "x"}"#), 422),
        (json("{"), 400),
        (post("{}"), 415),
        (json("").body(endless).header("X-Request-Timeout", "50ms"), 504),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert!(remaining(response.headers()) < 100, "{response:?}");
    }
}

/// A body of which nothing ever comes.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_as_long_as_retry_after_says_is_let_in() {
    let app = limited(1, 3, |_| {}).await;
    let response = until_refused(&app).await;
    assert_eq!(response.headers()["ratelimit-policy"], "\"address\";q=3;w=3");
    assert_eq!(remaining(response.headers()), 0);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let (wait, id) = (retry_after(&response), response.headers()["x-request-id"].clone());
    let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&json!("rate_limited"), &json!(429)));
    assert_eq!(problem["request_id"], id.to_str().unwrap());
    assert_eq!(problem["detail"], "the quota 'address' of 1 items per second and 3 at once is used up");
    tokio::time::sleep(wait).await;
    assert_eq!(ask(&app).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_costs_its_items() {
    let app = limited(1, 10, |_| {}).await;
    let response = batch(&app, 6).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!((4..=6).contains(&remaining(response.headers())), "{response:?}");

    let response = batch(&app, 9).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(remaining(response.headers()) < 9, "{response:?}");
    // All 9 have to be there, not only the 8 that were refused.
    tokio::time::sleep(retry_after(&response)).await;
    assert_eq!(batch(&app, 9).await.status(), StatusCode::OK);

    // More than a full bucket holds would be refused for ever.
    let app = limited(1, 10, |_| {}).await;
    let (status, problem) = app.post("/v1/predict_batch", json!({"inputs": vec![json!([1.0]); 11]})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_input")));
    let detail = "the batch has 11 items; the quota 'address' allows 10 at once";
    assert_eq!(problem["errors"], json!([{"pointer": "/inputs", "code": "batch_exceeds_quota", "detail": detail}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_public_routes_have_no_limit() {
    let app = limited(1, 1, |_| {}).await;
    until_refused(&app).await;
    for path in ["/healthz", "/readyz", "/"] {
        for _ in 0..100 {
            let response = app.request(Method::GET, path).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert!(!response.headers().contains_key("ratelimit"), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_says_of_his_address_changes_nothing() {
    let app = limited(1, 5, |config| {
        config.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    let mut refused = 0;
    for n in 0..50 {
        refused += i32::from(ask_for(&app, &format!("198.51.100.{n}")).await == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused >= 20, "only {refused} of 50 were refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_the_right_most_other_address_counts() {
    let app = limited(1, 5, behind_a_proxy).await;
    let mut refused = 0;
    for n in 0..50 {
        let forwarded = format!("203.0.113.{n}, 198.51.100.1, 127.0.0.9");
        refused += i32::from(ask_for(&app, &forwarded).await == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused >= 20, "only {refused} of 50 were refused");
    assert_eq!(ask_for(&app, "198.51.100.2").await, StatusCode::OK);

    // A subscriber of IPv6 has the whole of a /64.
    for n in 0..50 {
        refused += i32::from(ask_for(&app, &format!("[2001:db8::{n:x}]:443")).await == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused >= 40, "only {refused} of 100 were refused");
    assert_eq!(ask_for(&app, "2001:db8:0:1::1").await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_addresses_have_a_quota_each() {
    let app = limited(1, 1, behind_a_proxy).await;
    for n in 0..4000_u32 {
        let address = std::net::Ipv4Addr::from_bits(0xC612_0000 + n);
        assert_eq!(ask_for(&app, &address.to_string()).await, StatusCode::OK, "{address}");
    }
    let mut again = 0;
    for _ in 0..20 {
        again += i32::from(ask_for(&app, "198.18.0.1").await == StatusCode::OK);
    }
    assert!(again < 20, "the first of them has no limit any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_same_time_have_a_limit_of_their_own() {
    let app = limited(1000, 1000, |config| config.rate_limit.address_concurrent = 2).await;
    let body = json!({"input": [1.0]});
    let hold = || {
        let mut caller = Caller::connect(app.addr);
        let rest = caller.begin_post("/v1/predict", &body);
        (caller, rest)
    };
    let (first, (mut second, rest)) = (hold(), hold());
    let response = ask(&app).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(retry_after(&response), Duration::from_secs(1));
    assert!(remaining(response.headers()) > 0, "{response:?}");
    let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(problem["detail"], "the quota 'address' allows 2 requests at the same time");

    // Who is answered frees a place, before the answer is there.
    second.send(&rest);
    assert_eq!(second.answer().status, 200);
    for _ in 0..50 {
        assert_eq!(ask(&app).await.status(), StatusCode::OK);
    }
    // Who leaves frees one too.
    let held = (first, hold());
    assert_eq!(ask(&app).await.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(held);
    eventually("who left holds no place", async || ask(&app).await.status() == StatusCode::OK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_limits_there_is_nothing_of_them() {
    let app = limited(1, 1, |config| config.rate_limit.enabled = false).await;
    for _ in 0..50 {
        let response = ask(&app).await;
        assert_eq!(response.status(), StatusCode::OK);
        let names: Vec<_> = response.headers().keys().map(|name| name.as_str()).collect();
        assert!(!names.iter().any(|name| name.contains("ratelimit")), "{names:?}");
    }
    assert_eq!(batch(&app, 100).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_headers_come_when_they_are_asked_for() {
    let app = limited(1, 5, |config| config.rate_limit.legacy_headers = true).await;
    let response = ask(&app).await;
    let left = remaining(response.headers());
    let header = |name: &str| response.headers()[name].to_str().unwrap().parse::<u32>().unwrap();
    let legacy = (header("x-ratelimit-limit"), header("x-ratelimit-remaining"), header("x-ratelimit-reset"));
    assert_eq!(legacy, (5, left, 5 - left));
}
