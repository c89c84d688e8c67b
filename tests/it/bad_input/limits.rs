//! Bodies that are too large, too slow or not complete, and queues that are full.

use std::{sync::Arc, time::Duration};

use bytesize::ByteSize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    answer::{MALFORMED, post, still_answers},
    wire::{Wire, chunk, predict, predict_head},
};
use crate::support::TestApp;

const GOOD: &str = r#"{"model":"doubler","input":[1]}"#;
const TOO_LARGE: (u16, &str) = (413, "payload_too_large");

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_as_large_as_the_limit_and_no_larger() {
    let app = TestApp::with(|config| config.server.body_limit = ByteSize::kib(4)).await;
    for (length, status) in [(4096, 200), (4097, 413), (1_000_000, 413)] {
        let body = GOOD.to_owned() + &" ".repeat(length - GOOD.len());
        let mut wires = Vec::new();
        let mut wire = Wire::open(&app).await;
        wire.say(predict(&body, "")).await;
        wires.push((wire, "with its length"));

        let mut wire = Wire::open(&app).await;
        wire.say(format!("{}Transfer-Encoding: chunked\r\n\r\n", predict_head())).await;
        for piece in body.as_bytes().chunks(1000) {
            if !wire.say(chunk(std::str::from_utf8(piece).unwrap())).await {
                break;
            }
        }
        wire.say("0\r\n\r\n").await;
        wires.push((wire, "in chunks"));
        for (mut wire, case) in wires {
            let answer = wire.answer().await.expect(case);
            match status {
                200 => assert_eq!(answer.json()["prediction"], json!([2.0]), "{case}"),
                _ => {
                    let problem = answer.problem(TOO_LARGE, case);
                    assert_eq!(problem["detail"], "the body is larger than 4096 bytes", "{case}");
                    assert_eq!(answer.header("connection"), Some("close"), "{case}");
                    wire.ends().await;
                }
            }
        }
    }
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_over_the_limit_is_refused_before_the_body_comes() {
    let app = TestApp::start().await;
    for length in ["8388609", "99999999999", "9223372036854775807"] {
        let mut wire = Wire::open(&app).await;
        wire.say(format!("{}Content-Length: {length}\r\n\r\n", predict_head())).await;
        wire.answer().await.expect("an answer without a body").problem(TOO_LARGE, length);
        wire.ends().await;
    }
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_client_that_uploads_far_too_much_sees_why_it_is_refused() {
    let app = TestApp::with(|config| config.server.body_limit = ByteSize::kib(64)).await;
    for _ in 0..20 {
        post(&app, "/v1/predict", vec![b' '; 200 * 1024]).await.problem(TOO_LARGE, "200 KiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_asked_for_does_not_end_the_connection() {
    let app = TestApp::start().await;
    let rest = "Host: test\r\nContent-Length: 60000\r\n\r\n".to_owned() + &" ".repeat(60_000);
    let (mut wire, mut ended) = (Wire::open(&app).await, 0);
    for path in ["/docs", "/", "/v1/models"].repeat(10) {
        wire.say(format!("GET {path} HTTP/1.1\r\n{rest}")).await;
        let answer = wire.answer().await.expect(path);
        assert_eq!(answer.status, 200, "{path}");
        // The server waits a moment for the rest, which a busy machine may let pass.
        if answer.header("connection") == Some("close") {
            (wire, ended) = (Wire::open(&app).await, ended + 1);
        }
    }
    assert!(ended < 15, "the connection ended {ended} times of 30");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_takes_too_long_ends_with_408() {
    let app = TestApp::with(|config| config.server.body_timeout = Duration::from_millis(200)).await;
    for case in ["Content-Length: 100\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"] {
        // Nothing comes.
        let mut silent = Wire::open(&app).await;
        silent.say(format!("{}{case}", predict_head())).await;
        // A byte comes now and then: the limit is for the whole.
        let mut slow = Wire::open(&app).await;
        slow.say(format!("{}{case}", predict_head())).await;
        let piece = if case.starts_with("Content") { " ".to_owned() } else { chunk(" ") };
        for _ in 0..50 {
            if !slow.say(&piece).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for mut wire in [silent, slow] {
            let answer = wire.answer().await.expect("an answer");
            let problem = answer.problem((408, "request_timeout"), case);
            assert_eq!(problem["detail"], "the body did not arrive within 200ms");
            assert_eq!(answer.header("connection"), Some("close"));
            wire.ends().await;
        }
    }
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_not_predicted_from() {
    let app = TestApp::start().await;
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for rest in [
        format!("Content-Length: {}\r\n\r\n{GOOD}", GOOD.len() + 1),
        "Content-Length: 500\r\n\r\n".to_owned(),
        format!("{chunked}{}", chunk(GOOD)),
        format!("{chunked}{}0\r\n", chunk(GOOD)),
        format!("{chunked}zz\r\n{GOOD}\r\n0\r\n\r\n"),
        format!("{chunked}-1\r\n{GOOD}\r\n0\r\n\r\n"),
        format!("{chunked}ffffffffffffffffff\r\n{GOOD}\r\n0\r\n\r\n"),
        format!("{chunked}1\r\n{GOOD}\r\n0\r\n\r\n"),
    ] {
        let mut wire = Wire::open(&app).await;
        wire.say(format!("{}{rest}", predict_head())).await;
        wire.hush().await;
        wire.answer().await.expect("an answer").fault(MALFORMED, ("", "incomplete_body"), &rest);
        wire.ends().await;
    }
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
    let app = TestApp::with(|config| {
        config.runtime.threads = 1;
        config.runtime.queue_capacity = 1;
    })
    .await;
    let app = Arc::new(app);
    let mut callers = JoinSet::new();
    for n in 0..30 {
        // Every item has a shape of its own, and so a run of its own: each caller keeps the queue busy for a while. No
        // two callers send the same, or they would share their runs.
        let inputs: Vec<Value> = (1..200).map(|length| json!(vec![n; length])).collect();
        let body = json!({"model": "doubler", "inputs": inputs}).to_string();
        let app = Arc::clone(&app);
        callers.spawn(async move { post(&app, "/v1/predict_batch", body).await });
    }
    let mut refused = 0;
    while let Some(answer) = callers.join_next().await {
        let answer = answer.unwrap();
        if answer.status != 200 {
            let problem = answer.problem((503, "overloaded"), "a full queue");
            assert_eq!(problem["detail"], "the queue of model 'doubler' is full");
            assert_eq!(answer.header("retry-after"), Some("1"));
            refused += 1;
        }
    }
    // One of them always goes on: nobody is refused who finds the queue empty.
    assert!((1..=29).contains(&refused), "{refused} of 30 callers were refused");
    still_answers(&app).await;
}
