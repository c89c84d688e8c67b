//! Wrong verbs and wrong paths.

use reqwest::Method;

use super::{
    answer::{Answer, still_answers},
    wire::Wire,
};
use crate::support::TestApp;

const GETS: [&str; 6] =
    ["/", "/v1/models", "/v1/models/doubler", "/v1/models/doubler/versions/1", "/healthz", "/readyz"];
const POSTS: [&str; 2] = ["/v1/predict", "/v1/predict_batch"];

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_verb_is_answered_with_the_right_ones() {
    let app = TestApp::start().await;
    let shout = Method::from_bytes(b"SHOUT").unwrap();
    let lower = Method::from_bytes(b"post").unwrap();
    let (get, post) = ([Method::GET, Method::HEAD], [Method::POST]);
    let others = [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::TRACE, shout, lower];
    let gets = GETS.iter().map(|path| (path, "GET,HEAD", post.iter().chain(&others)));
    for (path, allow, wrong) in gets {
        for method in wrong {
            refused(&app, method, path, allow).await;
        }
    }
    for path in POSTS {
        for method in get.iter().chain(&others) {
            refused(&app, method, path, "POST").await;
        }
    }
    still_answers(&app).await;
}

async fn refused(app: &TestApp, method: &Method, path: &str, allow: &str) {
    let (answer, case) = (Answer::of(app.request(method.clone(), path)).await, format!("{method} {path}"));
    assert_eq!(answer.header("allow"), Some(allow), "{case}");
    if *method == Method::HEAD {
        assert_eq!((answer.status, answer.text()), (405, String::new()), "{case}");
        return;
    }
    answer.problem((405, "method_not_allowed"), &case);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_path_is_not_found_with_any_verb() {
    let app = TestApp::start().await;
    for path in [
        "/nowhere",
        "/v1",
        "/v20",
        "/v3",
        "/v1/predict/",
        "/v1/Predict",
        "/v1/predict%2f",
        "//v1/predict",
        "/v1//predict",
        "/v1/models/",
        "/v1/models/doubler/1",
        "/v1/models/doubler/versions",
        "/healthz/",
        "/.env",
        "/model/doubler/1/model.onnx",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = Answer::of(app.request(method.clone(), path)).await;
            answer.problem((404, "not_found"), &format!("{method} {path}"));
        }
    }
    // What clients would tidy up, or not send at all.
    for target in [
        "GET /v1/models/../../etc/passwd",
        "GET /v1/../healthz",
        "GET /v1/models/doubler/versions/../../../../proc/self/environ",
        "GET http://localhost:1/etc/passwd",
        "OPTIONS *",
        "CONNECT localhost:443",
    ] {
        let mut wire = Wire::open(&app).await;
        wire.say(format!("{target} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        wire.answer().await.unwrap().problem((404, "not_found"), target);
    }
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body() {
    let app = TestApp::start().await;
    for path in GETS.into_iter().chain(["/nowhere", "/v1/models/nobody"]) {
        let get = Answer::of(app.request(Method::GET, path)).await;
        let head = Answer::of(app.request(Method::HEAD, path)).await;
        assert_eq!((head.status, head.text()), (get.status, String::new()), "{path}");
        for header in ["content-type", "content-length", "cache-control"] {
            assert_eq!(head.header(header), get.header(header), "{path}: {header}");
        }
        assert_ne!(head.header("x-request-id"), get.header("x-request-id"), "{path}");
    }
}
