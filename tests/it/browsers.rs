//! What browsers are told: which pages may call, what an answer is not, and that large ones travel compressed.

use std::io::Read;

use glassbox::config::Config;
use reqwest::{Method, Response, StatusCode, header};
use serde_json::json;

use crate::support::{KeysFile, TestApp};

const PAGE: &str = "https://app.example.com";

async fn app(change: impl FnOnce(&mut Config)) -> TestApp {
    TestApp::with(change).await
}

async fn preflight(app: &TestApp, origin: &str) -> Response {
    let request = app.request(Method::OPTIONS, "/v1/predict").header(header::ORIGIN, origin);
    let request = request.header("Access-Control-Request-Method", "POST");
    request.header("Access-Control-Request-Headers", "x-api-key, content-type").send().await.unwrap()
}

async fn predict(app: &TestApp, origin: &str) -> Response {
    let request = app.request(Method::POST, "/v1/predict").header(header::ORIGIN, origin);
    request.json(&json!({"model": "doubler", "input": [1]})).send().await.unwrap()
}

fn says<'a>(response: &'a Response, header: &str) -> Option<&'a str> {
    response.headers().get(header).map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_no_page_may_call() {
    let app = app(|_| {}).await;
    let refused = preflight(&app, PAGE).await;
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    for response in [refused, predict(&app, PAGE).await] {
        let told = response.headers().keys().any(|name| name.as_str().starts_with("access-control"));
        assert!(!told, "{:?}", response.headers());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_configured_origin_may_call_and_read_what_they_need() {
    let file = KeysFile::new();
    let key = file.create(&[]);
    let app = app(|config| {
        config.server.cors_origins = vec![PAGE.to_owned(), "https://other.example.com".to_owned()];
        config.auth.keys_file = Some(file.path().to_owned());
    })
    .await;
    // A browser asks without the key.
    let asked = preflight(&app, PAGE).await;
    assert_eq!((asked.status(), says(&asked, "access-control-allow-origin")), (StatusCode::OK, Some(PAGE)));
    let allowed = says(&asked, "access-control-allow-headers").unwrap();
    assert!(allowed.contains("x-api-key") && allowed.contains("authorization"), "{allowed}");
    assert_eq!(says(&asked, "access-control-allow-credentials"), None);
    assert!(asked.headers().contains_key("x-request-id"));

    // What fails can be read as well: a page wants to tell why.
    let refused = predict(&app, PAGE).await;
    assert_eq!(
        (refused.status(), says(&refused, "access-control-allow-origin")),
        (StatusCode::UNAUTHORIZED, Some(PAGE))
    );
    let request = app.request(Method::POST, "/v1/predict").header(header::ORIGIN, PAGE).header("X-API-Key", &key.text);
    let answer = request.json(&json!({"model": "doubler", "input": [1]})).send().await.unwrap();
    assert_eq!((answer.status(), says(&answer, "access-control-allow-origin")), (StatusCode::OK, Some(PAGE)));
    let exposed = says(&answer, "access-control-expose-headers").unwrap();
    for name in ["x-request-id", "ratelimit", "retry-after", "cache-status"] {
        assert!(exposed.contains(name), "{name} cannot be read: {exposed}");
    }

    for other in ["https://evil.example.com", "https://app.example.com.evil.com", "null", "http://app.example.com"] {
        let asked = preflight(&app, other).await;
        assert_eq!(says(&asked, "access-control-allow-origin"), None, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_page_may_call_when_that_was_said() {
    let app = app(|config| config.server.cors_origins = vec!["*".to_owned()]).await;
    assert_eq!(says(&preflight(&app, PAGE).await, "access-control-allow-origin"), Some("*"));
    assert_eq!(says(&predict(&app, PAGE).await, "access-control-allow-origin"), Some("*"));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_say_what_they_are_not_when_that_is_wanted() {
    let names = ["x-content-type-options", "content-security-policy", "x-frame-options", "referrer-policy"];
    let plain = app(|_| {}).await;
    let careful = app(|config| config.server.security_headers = true).await;
    for path in ["/", "/healthz", "/nowhere", "/v1/models"] {
        let answer = plain.request(Method::GET, path).send().await.unwrap();
        assert!(names.iter().all(|name| says(&answer, name).is_none()), "{path}");
        let answer = careful.request(Method::GET, path).send().await.unwrap();
        assert!(names.iter().all(|name| says(&answer, name).is_some()), "{path}: {:?}", answer.headers());
        // Only what came over TLS may ask for TLS.
        assert_eq!(says(&answer, "strict-transport-security"), None, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_compressed_for_callers_who_accept_that() {
    let app = app(|_| {}).await;
    let ask = async |count: usize, accepts: &str| {
        let input: Vec<f64> = (0..count).map(|n| n as f64 / 7.0).collect();
        let request = app.request(Method::POST, "/v1/predict").header(header::ACCEPT_ENCODING, accepts);
        request.json(&json!({"model": "doubler", "input": input})).send().await.unwrap()
    };
    for (count, accepts, compressed) in [
        (20_000, "gzip", true),
        (20_000, "br, gzip;q=0.5", true),
        (20_000, "identity", false),
        (20_000, "", false),
        (20, "gzip", false),
    ] {
        let answer = ask(count, accepts).await;
        assert_eq!(says(&answer, "content-encoding"), compressed.then_some("gzip"), "{count} {accepts:?}");
        let bytes = answer.bytes().await.unwrap();
        let mut text = String::new();
        match compressed {
            true => drop(flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut text).unwrap()),
            false => text = String::from_utf8(bytes.to_vec()).unwrap(),
        }
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["prediction"].as_array().unwrap().len(), count);
        assert!(!compressed || bytes.len() * 2 < text.len(), "{} of {}", bytes.len(), text.len());
    }
}
