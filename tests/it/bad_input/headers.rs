//! Headers that are missing, wrong or hostile.

use std::time::Duration;

use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::json;

use super::{
    answer::{Answer, MALFORMED, patiently, still_answers},
    wire::{Wire, predict, predict_head},
};
use crate::support::TestApp;

const GOOD: &str = r#"{"model":"doubler","input":[1]}"#;
const UNSUPPORTED: (u16, &str) = (415, "unsupported_media_type");

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_announced_as_plain_json_in_utf_8() {
    let app = TestApp::start().await;
    for (wrong, name) in [
        (None, "no content type"),
        (Some(""), "an empty one"),
        (Some("text/plain"), "text"),
        (Some("text/json"), "text/json"),
        (Some("application/x-www-form-urlencoded"), "a form"),
        (Some("multipart/form-data; boundary=x"), "an upload"),
        (Some("application/octet-stream"), "bytes"),
        (Some("application/jsonp"), "jsonp"),
        (Some("application/json-seq"), "a sequence"),
        (Some("json"), "half a type"),
        (Some("application/json; charset=iso-8859-1"), "latin 1"),
        (Some("application/json;charset=\"utf-16\""), "utf-16"),
    ] {
        let mut request = app.request(Method::POST, "/v1/predict").body(GOOD);
        if let Some(value) = wrong {
            request = request.header(CONTENT_TYPE, value);
        }
        let problem = Answer::of(request).await.problem(UNSUPPORTED, name);
        assert!(problem["detail"].as_str().unwrap().contains("application/json"), "{name}: {problem}");
    }
    for right in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "application/vnd.example+json",
    ] {
        let answer = Answer::of(app.request(Method::POST, "/v1/predict").body(GOOD).header(CONTENT_TYPE, right)).await;
        assert_eq!(answer.status, 200, "{right}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_is_refused() {
    let app = TestApp::start().await;
    for encoding in ["gzip", "br", "deflate", "zstd", "identity, gzip", "x"] {
        for (path, body) in [("/v1/predict", GOOD), ("/v1/predict_batch", "\u{1f}not gzip")] {
            let request = app.request(Method::POST, path).header(CONTENT_TYPE, "application/json").body(body);
            let answer = Answer::of(request.header("content-encoding", encoding)).await;
            let problem = answer.problem(UNSUPPORTED, encoding);
            assert!(problem["detail"].as_str().unwrap().contains("Content-Encoding"), "{problem}");
        }
    }
    let request = app.request(Method::POST, "/v1/predict").header(CONTENT_TYPE, "application/json").body(GOOD);
    assert_eq!(Answer::of(request.header("content-encoding", "Identity")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_a_good_id_and_gets_a_new_one_for_a_bad_one() {
    let app = TestApp::start().await;
    let longest = "a".repeat(128);
    for good in ["a", "order-77:1/3", "!~{}\"\\", &longest] {
        for path in ["/healthz", "/nowhere"] {
            let answer = Answer::of(app.request(Method::GET, path).header("x-request-id", good)).await;
            assert_eq!(answer.header("x-request-id"), Some(good), "{path}");
        }
        let answer = app.request(Method::POST, "/v1/predict").header("x-request-id", good).json(&json!({}));
        assert_eq!(Answer::of(answer).await.problem(MALFORMED, good)["request_id"], good);
        let answer = app.request(Method::POST, "/v1/predict").header("x-request-id", good);
        let answer = Answer::of(answer.json(&json!({"model": "doubler", "input": [1]}))).await;
        assert_eq!(answer.json()["id"], good);
    }
    let too_long = "a".repeat(129);
    for bad in ["", " ", "a b", "a\tb", &too_long, "caf\u{e9}", "\u{1f600}"] {
        let value = HeaderValue::from_bytes(bad.as_bytes()).unwrap();
        let answer = Answer::of(app.request(Method::GET, "/nowhere").header("x-request-id", value)).await;
        answer.problem((404, "not_found"), bad);
        let id = answer.header("x-request-id").unwrap();
        assert!(id.len() == 36 && id.as_bytes()[14] == b'7', "{bad:?} became {id:?}, which is no UUIDv7");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_that_is_no_duration_is_refused() {
    let app = TestApp::start().await;
    for bad in ["", "soon", "5", "-1s", "0s", "0ms", "NaN", "1 parsec", "99999999999999999999s", "250ms; x"] {
        for (method, path) in [(Method::GET, "/healthz"), (Method::POST, "/v1/predict")] {
            let answer = Answer::of(app.request(method, path).header("x-request-timeout", bad)).await;
            answer.fault(MALFORMED, ("", "invalid_header"), bad);
        }
    }
    let answer = app.request(Method::GET, "/healthz");
    let answer = Answer::of(answer.header("x-request-timeout", HeaderValue::from_bytes(b"5\xff").unwrap())).await;
    answer.fault(MALFORMED, ("", "invalid_header"), "bytes");
    for good in ["250ms", "1.5s", "20s", "1min", "2h 30min", "300years"] {
        let answer = Answer::of(app.request(Method::GET, "/healthz").header("x-request-timeout", good)).await;
        assert_eq!(answer.status, 200, "{good}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_deadline_ends_a_request_whose_body_comes_later() {
    let app = TestApp::start().await;
    for timeout in ["1ns", "20ms"] {
        let mut wire = Wire::open(&app).await;
        wire.say(format!("{}X-Request-Timeout: {timeout}\r\nContent-Length: 500\r\n\r\n{{", predict_head())).await;
        let answer = wire.answer().await.expect("an answer");
        answer.problem((504, "deadline_exceeded"), timeout);
        wire.ends().await;
    }
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_caller_gets_more_time_than_the_server_gives() {
    let app = TestApp::with(|config| config.server.request_timeout = Duration::from_secs(2)).await;
    for timeout in ["", "X-Request-Timeout: 1h\r\n", "X-Request-Timeout: 300years\r\n"] {
        let mut wire = Wire::open(&app).await;
        wire.say(format!("{}{timeout}Content-Length: 500\r\n\r\n{{", predict_head())).await;
        // The body's own time is far longer, and the harness waits longer still.
        wire.answer().await.expect("an answer").problem((504, "deadline_exceeded"), timeout);
    }
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_mean_nothing_here_change_nothing() {
    let app = TestApp::start().await;
    for headers in [
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Host: localhost:1\r\n",
        "Range: bytes=0-3\r\n",
        "X-HTTP-Method-Override: DELETE\r\n",
        "X-Forwarded-For: 127.0.0.1\r\nX-Original-URL: /admin\r\n",
        "Accept: text/html\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\n",
        "If-None-Match: *\r\nExpect: 200-ok\r\n",
    ] {
        let mut wire = Wire::open(&app).await;
        wire.say(predict(GOOD, headers)).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!((answer.status, &answer.json()["prediction"]), (200, &json!([2.0])), "{headers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_asks_first_is_told_to_go_on_or_not() {
    let app = TestApp::start().await;
    let mut wire = Wire::open(&app).await;
    wire.say(format!("{}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", predict_head(), GOOD.len())).await;
    assert_eq!(wire.answer().await.unwrap().status, 100);
    wire.say(GOOD).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);

    let mut wire = Wire::open(&app).await;
    wire.say(format!("{}Expect: 100-continue\r\nContent-Length: 999999999\r\n\r\n", predict_head())).await;
    wire.answer().await.unwrap().problem((413, "payload_too_large"), "too large");
    patiently(wire.ends()).await;
}
