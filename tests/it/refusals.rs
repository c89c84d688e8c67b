//! What a refusal leaves behind: a connection that goes on, or one that says that it does not.

use std::time::Duration;

use serde_json::json;

use crate::support::{Caller, KeysFile, TestApp, TestAppBuilder, until};

async fn guarded() -> (TestApp, KeysFile) {
    let file = KeysFile::new();
    file.create(&[]);
    let app = TestApp::with(|config| config.auth.keys_file = Some(file.path().to_owned())).await;
    (app, file)
}

/// The body comes a moment after the head, as clients send it, and after the refusal was decided.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_is_refused_before_his_body_came_can_go_on() {
    let (app, _file) = guarded().await;
    let addr = app.addr;
    tokio::task::spawn_blocking(move || {
        for (method, path, status) in [
            ("POST", "/v1/predict", 401),
            ("POST", "/nowhere", 404),
            ("PUT", "/v1/predict", 405),
            ("POST", "/v1/models", 405),
        ] {
            let (mut caller, mut ended) = (Caller::connect(addr), 0);
            for round in 0..20 {
                let head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n");
                caller.send(&(head + "Content-Length: 14\r\n\r\n"));
                std::thread::sleep(Duration::from_millis(5));
                caller.send("{\"text\": \"abc\"");
                assert_eq!(caller.answer().status, status, "{method} {path}, round {round}");
                // The server waits a moment for the rest, which a busy machine may let pass.
                if caller.ended {
                    (caller, ended) = (Caller::connect(addr), ended + 1);
                }
            }
            assert!(ended < 10, "{method} {path}: the connection ends for a small body, {ended} times of 20");
            assert_eq!(caller.get("/healthz").status, 200);
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_nobody_wants_to_read_ends_its_connection_and_the_answer_says_so() {
    let (app, _file) = guarded().await;
    let addr = app.addr;
    tokio::task::spawn_blocking(move || {
        let large = "Content-Length: 5000000\r\n";
        let slow = "Content-Length: 100\r\n";
        let asking = "Content-Length: 100\r\nExpect: 100-continue\r\n";
        for length in [large, slow, asking, "Transfer-Encoding: chunked\r\n"] {
            let mut caller = Caller::connect(addr);
            caller.send(&format!("POST /v1/predict HTTP/1.1\r\nHost: test\r\n{length}\r\n"));
            assert_eq!(caller.answer().status, 401, "{length}");
            assert!(caller.ended, "{length}: the caller is not told");
            caller.closed();
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_no_model_to_strangers() {
    let file = KeysFile::new();
    file.create(&[]);
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::create_dir_all(folder.path().join("secret-merger/1")).unwrap();
    std::fs::write(folder.path().join("secret-merger/1/model.onnx"), "no graph").unwrap();
    for (keys, names) in [(true, false), (false, true)] {
        let app = TestAppBuilder::new(|config| {
            config.models.repository = Some(folder.path().to_owned());
            config.models.default = None;
            config.auth.keys_file = keys.then(|| file.path().to_owned());
        });
        let app = app.start().await;
        app.until_loaded().await;
        let (status, body) = app.get("/readyz").await;
        assert_eq!((status.as_u16(), &body["reasons"][0]["state"]), (503, &json!("failed")));
        assert_eq!(body.to_string().contains("secret-merger"), names, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_told_nothing_by_the_clock() {
    let (app, _file) = guarded().await;
    let answer = app.request(reqwest::Method::GET, "/v1/models").bearer_auth("gb_x_y").send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(!answer.headers().contains_key("server-timing"), "{:?}", answer.headers());
    let public = app.request(reqwest::Method::GET, "/healthz").send().await.unwrap();
    assert!(public.headers().contains_key("server-timing"));
    until("the requests are over", || app.series("http_requests_in_flight") == Some(0.0));
}
