//! Callers that come in numbers, and leave when they please.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    answer::{Answer, patiently, post, still_answers},
    wire::{Wire, post_to, predict, predict_head},
};
use crate::support::{Long, PATIENCE, TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_vanish_in_the_middle_leave_their_place_to_others() {
    // Fewer places than callers; and none of the server's own timeouts is short enough to free them.
    let app = TestApp::with(|config| {
        config.server.max_connections = 8;
        let never = 10 * PATIENCE;
        (config.server.header_timeout, config.server.body_timeout) = (never, never);
        (config.server.idle_timeout, config.server.request_timeout) = (never, never);
    })
    .await;
    let body = json!({"model": "doubler", "input": vec![1; 20_000]}).to_string();
    let whole = predict(&body, "");
    let stages = ["", "POST /v1/pre", &predict_head()[..60], &whole[..200], &whole[..whole.len() - 1], &whole];
    for round in 0..200 {
        let mut wire = Wire::open(&app).await;
        wire.say(stages[round % stages.len()]).await;
        if round % 2 == 0 {
            // Ends with a reset instead of a farewell.
            wire.stream.set_zero_linger().unwrap();
        }
    }
    // Until the server has seen that the last of them have left, a new caller may be refused.
    let body = json!({"model": "doubler", "input": [1.5]});
    eventually("there is a place again", async || app.post("/v1/predict", body.clone()).await.0 == 200).await;
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_does_not_take_its_answer_leaves_its_place_to_others() {
    let long = Long::new();
    let app = TestApp::with(|config| {
        config.models.files = vec![long.path()];
        config.server.max_connections = 1;
        // What the answer may take, and much more than it takes to be made.
        config.server.request_timeout = Duration::from_secs(5);
    })
    .await;
    // More than the buffers of both sockets hold: the caller's is small, the system bounds the other.
    let body = Long::ask(16_000_000).to_string();
    let mut idle = Wire::open_narrow(&app).await;
    idle.say(post_to(Long::PATH, &body)).await;
    let mut begin = [0; 12];
    patiently(idle.stream.peek(&mut begin)).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    let body = r#"{"model":"doubler","input":[1]}"#;
    let began = Instant::now();
    while post(&app, "/v1/predict", body).await.status == 503 {
        assert!(began.elapsed() < Duration::from_secs(120), "its place is not free");
    }
    still_answers(&app).await;
    assert!(idle.breaks_off().await, "the whole answer was there: this test shows nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_huge_bodies_at_once_are_all_answered_and_probes_in_between() {
    let app = Arc::new(TestApp::with(|config| config.server.body_limit = ByteSize::kib(512)).await);
    let numbers = 200_000;
    let fits = format!(r#"{{"model":"doubler","input":[{}1]}}"#, "0,".repeat(numbers));
    let too_large = format!(r#"{{"model":"doubler","input":[{}1]}}"#, "0,".repeat(2 * numbers));
    let mut callers = JoinSet::new();
    for caller in 0..32 {
        let (app, body) = (Arc::clone(&app), if caller % 2 == 0 { fits.clone() } else { too_large.clone() });
        callers.spawn(async move { (caller, post(&app, "/v1/predict", body).await) });
    }
    let mut probes = 0;
    while !callers.is_empty() {
        while let Some(done) = callers.try_join_next() {
            let (caller, answer) = done.unwrap();
            if caller % 2 == 0 {
                let length = answer.json()["prediction"].as_array().map(Vec::len);
                assert_eq!(length, Some(numbers + 1), "{} {:.300}", answer.status, answer.text());
            } else {
                answer.problem((413, "payload_too_large"), "twice the limit");
            }
        }
        assert_eq!(Answer::of(app.request(Method::GET, "/healthz")).await.status, 200);
        probes += 1;
    }
    assert!(probes > 1, "the probes came too late to show anything");
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_share_a_bounded_room_and_give_it_back() {
    let app = TestApp::with(|config| {
        config.server.body_limit = ByteSize::kib(64);
        config.server.bodies_limit = ByteSize::kib(65);
    })
    .await;
    let large = format!(r#"{{"model":"doubler","input":[1]{}}}"#, " ".repeat(60_000));
    let request = predict(&large, "");
    let has_room = async || while post(&app, "/v1/predict", &large).await.status != 200 {};
    // Nothing tells from outside when the server has read that far: where the second comes before the first, both try again.
    let race = async {
        loop {
            let mut first = Wire::open(&app).await;
            first.say(&request[..request.len() - 1]).await;
            let answer = post(&app, "/v1/predict", &large).await;
            if answer.status != 200 {
                break (first, answer);
            }
            drop(first);
            has_room().await;
        }
    };
    let (mut first, refused) = patiently(race).await;
    refused.problem((503, "overloaded"), "no room");
    assert!(refused.header("retry-after").is_some());
    first.say(&request[request.len() - 1..]).await;
    assert_eq!(first.answer().await.expect("an answer").status, 200);
    // The room is given back once the answer is on its way.
    patiently(has_room()).await;
}
