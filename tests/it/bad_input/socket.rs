//! Bytes that are no HTTP, or not quite.

use std::time::Duration;

use serde_json::json;

use super::{
    answer::{MALFORMED, still_answers},
    wire::{Wire, chunk, predict, predict_head},
};
use crate::support::TestApp;

const GOOD: &str = r#"{"model":"doubler","input":[1]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_http_end_their_own_connection_only() {
    let app = TestApp::start().await;
    let long = "a".repeat(1024 * 1024);
    let many: String = (0..1000).map(|n| format!("X-{n}: a\r\n")).collect();
    let length = |value: &str| format!("{}Content-Length: {value}\r\n\r\n{GOOD}", predict_head());
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("noise", (0..=255).cycle().take(10_000).chain(*b"\r\n\r\n").collect(), &[400]),
        ("zeros", vec![0; 10_000], &[400]),
        (
            "a TLS handshake",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".iter().chain(&[0; 64]).copied().collect(),
            &[400],
        ),
        ("a preface of HTTP/2 with a slip", b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n".into(), &[400]),
        ("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n\r\n".into(), &[400]),
        ("no version", b"GET /healthz\r\n\r\n".into(), &[400]),
        ("an unknown version", b"GET /healthz HTTP/3.7\r\n\r\n".into(), &[400]),
        ("a space in a header's name", b"GET /healthz HTTP/1.1\r\nX Y: z\r\n\r\n".into(), &[400]),
        ("a NUL in a header", b"GET /healthz HTTP/1.1\r\nX: a\0b\r\n\r\n".into(), &[400]),
        ("a path too long", format!("GET /{long} HTTP/1.1\r\n\r\n").into(), &[414, 431]),
        ("a header too long", format!("GET /healthz HTTP/1.1\r\nX: {long}\r\n\r\n").into(), &[431]),
        ("too many headers", format!("GET /healthz HTTP/1.1\r\n{many}\r\n").into(), &[431]),
        ("two lengths", length("3\r\nContent-Length: 31").into(), &[400]),
        ("a list of lengths", length("31, 3").into(), &[400]),
        ("a negative length", length("-1").into(), &[400]),
        ("a length with a sign", length("+31").into(), &[400]),
        ("a length in hexadecimal", length("0x1f").into(), &[400]),
        ("a length without end", length("99999999999999999999999999").into(), &[400]),
        ("an unknown coding", format!("{}Transfer-Encoding: gzip\r\n\r\n{GOOD}", predict_head()).into(), &[400]),
        ("chunked, but not last", format!("{}Transfer-Encoding: chunked, gzip\r\n\r\n", predict_head()).into(), &[400]),
    ];
    for (case, bytes, statuses) in cases {
        let mut wire = Wire::open(&app).await;
        wire.say(&bytes).await;
        match wire.answer().await {
            Some(answer) => {
                assert!(statuses.contains(&answer.status), "{case}: {}", answer.status);
                assert_eq!(answer.header("connection"), Some("close"), "{case}");
                wire.ends().await;
            }
            None => assert!(statuses.is_empty(), "{case}: no answer"),
        }
        still_answers(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_one_breath_are_answered_in_their_order() {
    let app = TestApp::start().await;
    let mut wire = Wire::open(&app).await;
    let bad = predict("{", "X-Request-Id: second\r\n");
    let good = |id: &str| predict(GOOD, &format!("X-Request-Id: {id}\r\n"));
    wire.say(
        [good("first"), bad, good("third"), "GET /nowhere HTTP/1.1\r\nX-Request-Id: fourth\r\n\r\n".into()].concat(),
    )
    .await;
    for (id, status) in [("first", 200), ("second", 400), ("third", 200), ("fourth", 404)] {
        let answer = wire.answer().await.expect(id);
        assert_eq!((answer.header("x-request-id"), answer.status), (Some(id), status));
    }
    wire.hush().await;
    wire.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_smuggled_behind_another() {
    let app = TestApp::start().await;
    let hidden = "GET /v1/models HTTP/1.1\r\nHost: test\r\n\r\n";
    // Two readers that disagree about the body's length would see a second request; this connection ends after the first.
    let mut wire = Wire::open(&app).await;
    let lengths = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.say(format!("{}{lengths}{}0\r\n\r\n{hidden}", predict_head(), chunk(GOOD))).await;
    assert_eq!(wire.answer().await.expect("an answer").json()["prediction"], json!([2.0]));
    wire.ends().await;

    // What stands in the body is the body.
    let mut wire = Wire::open(&app).await;
    wire.say(predict(hidden, "")).await;
    wire.answer().await.expect("an answer").fault(MALFORMED, ("", "invalid_json"), "a request in a body");
    wire.hush().await;
    wire.ends().await;
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_take_too_long_end_the_connection() {
    let app = TestApp::with(|config| {
        // Much more than a whole head takes.
        config.server.header_timeout = Duration::from_secs(2);
        config.server.idle_timeout = Duration::from_secs(2);
        config.server.max_connections = 4;
    })
    .await;
    for _ in 0..3 {
        let silent = Wire::open(&app).await;
        let mut half = Wire::open(&app).await;
        half.say("POST /v1/predict HTTP/1.1\r\nHost: te").await;
        // Each line comes soon after the last one: the limit is for all of them.
        let mut slow = Wire::open(&app).await;
        slow.say("GET /healthz HTTP/1.1\r\n").await;
        while slow.say("X: a\r\n").await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut kept_alive = Wire::open(&app).await;
        kept_alive.say(predict(GOOD, "")).await;
        assert_eq!(kept_alive.answer().await.expect("an answer").status, 200);
        for mut wire in [silent, half, slow, kept_alive] {
            wire.ends().await;
        }
    }
    still_answers(&app).await;
}
