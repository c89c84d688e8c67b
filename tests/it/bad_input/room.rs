//! The room that bodies share: what one caller may hold of it, and what a body takes that becomes many times its size.

use std::{fmt::Write, time::Duration};

use bytesize::ByteSize;
use glassbox::config::Config;
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::json;

use super::{
    answer::{Answer, INVALID, patiently, post, still_answers},
    wire::{Wire, predict},
};
use crate::support::{Server, TestApp, eventually, glassbox, variable};

const OVERLOADED: (u16, &str) = (503, "overloaded");
const TOO_LARGE: (u16, &str) = (413, "payload_too_large");

/// Room for four bodies, and callers who are told apart.
fn narrow(config: &mut Config) {
    config.server.body_limit = ByteSize::kib(64);
    config.server.bodies_limit = ByteSize::kib(256);
    config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    // None of the tests ends because a body has had its time.
    config.server.body_timeout = Duration::from_secs(600);
    config.server.request_timeout = Duration::from_secs(600);
}

/// A good request with a body of so many KiB.
fn request(caller: &str, kib: usize) -> String {
    let body = format!(r#"{{"model":"doubler","input":[1]}}{}"#, " ".repeat(kib * 1024 - 31));
    predict(&body, &format!("X-Forwarded-For: {caller}\r\n"))
}

/// Asks by a connection of its own.
async fn ask(app: &TestApp, caller: &str, kib: usize) -> Answer {
    let mut wire = Wire::open(app).await;
    wire.say(request(caller, kib)).await;
    wire.answer().await.expect("an answer")
}

/// A request without its last byte.
async fn begin(app: &TestApp, caller: &str, kib: usize) -> Wire {
    let mut wire = Wire::open(app).await;
    let request = request(caller, kib);
    wire.say(&request[..request.len() - 1]).await;
    wire
}

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_with_bodies_that_do_not_end_shuts_out_nobody_else() {
    let app = TestApp::with(narrow).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(begin(&app, "192.0.2.1", 60).await);
    }
    // The share is full once one of them is refused; all bytes of the others are there, or will be.
    let mut refused = 0;
    for wire in &mut held {
        let waiting = tokio::time::timeout(Duration::from_secs(5), wire.answer());
        if let Ok(Some(answer)) = waiting.await {
            let problem = answer.problem(OVERLOADED, "beyond the share");
            assert_eq!(problem["detail"], "this caller's share of the room for requests and answers is full");
            refused += 1;
            if refused == 4 {
                break;
            }
        }
    }
    assert_eq!(refused, 4, "one caller holds more than its share");
    for _ in 0..20 {
        assert_eq!(ask(&app, "192.0.2.2", 40).await.status, 200);
    }
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_64_bits_is_one_caller() {
    let app = TestApp::with(narrow).await;
    let mut held = Vec::new();
    eventually("the share of the network is full", async || {
        let address = format!("2001:db8:1:2::{}", held.len() + 1);
        held.push(begin(&app, &address, 60).await);
        ask(&app, "2001:db8:1:2:3:4:5:6", 60).await.status == 503
    })
    .await;
    assert_eq!(ask(&app, "2001:db8:1:3::1", 40).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_arrives_slowly_loses_its_room_to_a_caller_that_needs_it() {
    let app = TestApp::with(narrow).await;
    let mut slow = Vec::new();
    for caller in 1..=4 {
        let caller = format!("192.0.2.{caller}");
        slow.push((begin(&app, &caller, 60).await, caller));
    }
    let (mut lost, mut let_in) = (0, 0);
    eventually("a caller gets in though bodies hold all of the room", async || {
        let_in += usize::from(ask(&app, "198.51.100.1", 60).await.status == 200);
        for (wire, caller) in &mut slow {
            match tokio::time::timeout(Duration::from_millis(10), wire.answer()).await {
                Err(_arriving) => continue,
                Ok(answer) if answer.as_ref().is_some_and(|answer| answer.status == 408) => {
                    let answer = answer.unwrap();
                    let problem = answer.problem((408, "request_timeout"), "a slow body");
                    let words = "the body arrived slowly while others needed its room; send it again";
                    assert_eq!(problem["detail"], words);
                    assert_eq!(answer.header("connection"), Some("close"));
                    lost += 1;
                }
                // It came while the other one was there.
                Ok(_) => {}
            }
            *wire = begin(&app, caller, 60).await;
        }
        lost > 0 && let_in > 0
    })
    .await;
    drop(slow);
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_has_come_to_a_halt_gives_way_to_the_next_one_of_its_caller() {
    let app = TestApp::with(narrow).await;
    let mut stuck = begin(&app, "192.0.2.1", 60).await;
    let mut lost = None;
    eventually("the first one has lost its room", async || {
        // It is refused as long as the first one may still go on.
        let next = ask(&app, "192.0.2.1", 60).await.status;
        assert!([200, 503].contains(&next), "{next}");
        lost = tokio::time::timeout(Duration::from_millis(100), stuck.answer()).await.ok().flatten();
        lost.is_some()
    })
    .await;
    lost.expect("an answer").problem((408, "request_timeout"), "a halt");
    assert_eq!(ask(&app, "192.0.2.1", 60).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_room_is_whole_again_when_all_have_left() {
    let app = TestApp::with(narrow).await;
    for round in 0..40 {
        let mut wires = Vec::new();
        for caller in 0..6 {
            wires.push(begin(&app, &format!("192.0.2.{}", caller % 3), 60).await);
        }
        // Some finish, some are refused, some vanish.
        for wire in wires.iter_mut().take(round % 7) {
            wire.say(" ").await;
        }
    }
    // As much as one caller may hold of the whole, to a KiB: 96 KiB of bodies that arrive.
    eventually("a share is what it is of the whole", async || {
        let one = begin(&app, "192.0.2.9", 47).await;
        let answer = ask(&app, "192.0.2.9", 48).await;
        drop(one);
        answer.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_becomes_too_much_is_refused_while_it_is_read() {
    let app = TestApp::with(|config| {
        config.server.body_limit = ByteSize::mib(1);
        config.server.bodies_limit = ByteSize::mib(4);
    })
    .await;
    let many =
        |before: &str, piece: &str, after: &str| format!("{before}{}{after}", piece.repeat(900_000 / piece.len()));
    let words =
        "the body takes more than 3080192 bytes of memory once it is read, by its many small parts; send fewer at once";
    for (path, body) in [
        ("/v1/predict", many(r#"{"model":"doubler","input":["""#, r#","""#, "]}")),
        ("/v1/predict", many(r#"{"model":"doubler","input":[1"#, ",1", "]}")),
        ("/v1/predict_batch", many(r#"{"model":"doubler","inputs":[["""#, r#","""#, "]]}")),
    ] {
        let problem = post(&app, path, &body).await.problem(TOO_LARGE, &body[..50]);
        assert_eq!(problem["detail"], words);
    }
    let strings = many(r#"{"inputs":[{"name":"x","datatype":"BYTES","shape":[1,1],"data":["""#, r#","""#, "]}]}");
    let request = app.request(Method::POST, "/v2/models/doubler/infer").body(strings);
    let answer = Answer::of(request).await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (413, Some(words)), "{}", answer.text());
    // 4 bytes for each string, all of them empty.
    let head = json!({"inputs": [{
        "name": "x", "datatype": "BYTES", "shape": [220_000, 1], "parameters": {"binary_data_size": 880_000},
    }]})
    .to_string();
    let request = app.request(Method::POST, "/v2/models/doubler/infer");
    let request = request.header("Inference-Header-Content-Length", head.len());
    let answer = Answer::of(request.body([head.as_bytes(), &[0; 880_000]].concat())).await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (413, Some(words)), "{}", answer.text());
    // As many bytes of what numbers usually are.
    let body = many(r#"{"model":"doubler","input":[0.5"#, ",0.123456", "]}");
    assert_eq!(post(&app, "/v1/predict", &body).await.status, 200);
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_told_even_where_the_body_is_read_twice_for_it() {
    let app = TestApp::with(|config| {
        config.server.body_limit = ByteSize::mib(1);
        config.server.bodies_limit = ByteSize::mib(4);
    })
    .await;
    // 2 MB of numbers, for which there is no room twice.
    let body = format!(r#"{{"model":"doubler","input":[{}NaN]}}"#, "7.5,".repeat(230_000));
    let problem = post(&app, "/v1/predict", &body).await.problem((400, "malformed_request"), "NaN");
    assert_eq!(problem["errors"][0]["pointer"], "/input/230000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shape_of_many_dimensions_is_refused_by_their_number() {
    let app = TestApp::start().await;
    let sizes = vec!["1"; 100_000].join(",");
    let body = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{sizes}],"data":[1]}}]}}"#);
    let answer = Answer::of(app.request(Method::POST, "/v2/models/doubler/infer").body(body)).await;
    let words = "input 'x': the shape has 100000 dimensions, and no tensor has more than 64";
    assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some(words)), "{}", answer.text());
}

/// A body of 2 MB that becomes far more, and where it is sent.
fn bombs() -> [(&'static str, String); 4] {
    let names = (0..1000).fold(String::new(), |mut names, name| {
        write!(names, r#"{}"{name:03}":1"#, if name == 0 { "" } else { "," }).unwrap();
        names
    });
    let same = vec![r#""a":1"#; 4096].join(",");
    let items = |item: &str| {
        let items = format!(",{{{item}}}").repeat(2_000_000 / (item.len() + 3));
        format!(r#"{{"model":"multi_io","inputs":[{{}}{items}]}}"#)
    };
    let shape =
        format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","data":[1],"shape":[1{}]}}]}}"#, ",1".repeat(1_000_000));
    let strings = format!(r#"{{"model":"doubler","input":[""{}]}}"#, r#","""#.repeat(660_000));
    [
        ("/v1/predict_batch", items(&names)),
        ("/v1/predict_batch", items(&same)),
        ("/v2/models/doubler/infer", shape),
        ("/v1/predict", strings),
    ]
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn eight_bodies_that_become_many_times_their_size_stay_within_the_room() {
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
    for (key, value) in
        [("server.bodies_limit", "16MiB"), ("server.body_limit", "2MiB"), ("telemetry.log_format", "json")]
    {
        command.env(variable(key), value);
    }
    let server = Server::start(&mut command);
    let client = reqwest::Client::new();
    for (path, body) in bombs() {
        let before = server.resident();
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let request = client.post(format!("http://{}{path}", server.addr)).header(CONTENT_TYPE, "application/json");
            callers.spawn(Answer::of(request.body(body.clone())));
        }
        let mut most = before;
        while !callers.is_empty() {
            while let Some(answer) = callers.try_join_next() {
                let answer = answer.unwrap();
                assert!([400, 413, 422, 503].contains(&answer.status), "{path}: {}", answer.text());
            }
            most = most.max(server.resident());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let grown = most.saturating_sub(before) / 1_000_000;
        assert!(grown < 80, "{path} {}: {grown} MB for eight bodies of 2 MB", &body[..60]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_a_thousand_names_are_told_by_their_names() {
    let app = TestApp::start().await;
    let [(path, body), ..] = bombs();
    let problem = patiently(post(&app, path, &body)).await.problem(INVALID, "a thousand names");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 32);
    assert!(problem["detail"].as_str().unwrap().ends_with(" (and at least 31 more)"), "{problem}");
}
