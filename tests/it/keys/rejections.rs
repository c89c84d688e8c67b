//! Who is let in, to what, and what the others learn.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use glassbox::{
    api::{Access, routes},
    config::HistoryMode,
    keys::Scope,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, DENIED, UNAUTHENTICATED, app, app_with, ask, predict};
use crate::support::{KeysFile, TestApp};

fn rejections(app: &TestApp, reason: &str) -> f64 {
    app.series(&format!("auth_rejections_total{{reason=\"{reason}\"}}")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_rejections_look_alike_to_callers_and_are_told_apart_in_the_metrics() {
    let file = KeysFile::new();
    let [valid, revoked, expired] = [(); 3].map(|()| file.create(&[]));
    let early = file.create(&["--not-before", "2100-01-01T00:00:00Z"]);
    file.revoke(&revoked.id);
    let entry = format!("id = \"{}\"\n", expired.id);
    file.write(file.text().replace(&entry, &format!("{entry}expires_at = 2020-01-01T00:00:00Z\n")));
    let app = app(&file).await;
    let unknown = "gb_0123456789ab_0123456789abcdef0123456789abcdef0123456789abcdef";

    let bearer = |key: &str| vec![("authorization", format!("Bearer {key}").into_bytes())];
    let api_key = |key: &str| vec![("x-api-key", key.as_bytes().to_vec())];
    let both = |one: &str, other: &str| [bearer(one), api_key(other)].concat();
    let cases = [
        ("missing", vec![]),
        ("malformed", api_key("open sesame")),
        ("malformed", api_key("")),
        ("malformed", bearer("")),
        ("malformed", vec![("authorization", b"Basic YTpi".to_vec())]),
        ("malformed", api_key(&valid.text.to_uppercase())),
        ("malformed", vec![("x-api-key", b"gb_\xff".to_vec())]),
        ("malformed", api_key(&"x".repeat(8000))),
        ("malformed", both(&valid.text, &early.text)),
        ("malformed", [bearer(&valid.text), bearer(&valid.text)].concat()),
        ("malformed", [api_key(&valid.text), api_key(&valid.text)].concat()),
        ("unknown", bearer(unknown)),
        ("mismatch", bearer(&valid.forged())),
        ("mismatch", api_key(&revoked.forged())),
        ("revoked", api_key(&revoked.text)),
        ("not_yet_valid", bearer(&early.text)),
        ("expired", bearer(&expired.text)),
    ];
    let mut seen = Vec::new();
    for (reason, headers) in &cases {
        let before = rejections(&app, reason);
        let mut request = app.request(Method::POST, "/v1/predict").json(&json!({"model": "doubler", "input": [1]}));
        for (name, value) in headers {
            request = request.header(*name, &value[..]);
        }
        let mut answer = Answer::of(request).await;
        assert_eq!(answer.refusal(), UNAUTHENTICATED, "{reason}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"glassbox\"", "{reason}");
        assert_eq!(rejections(&app, reason), before + 1.0, "{reason}");
        for header in ["x-request-id", "date"] {
            assert!(answer.headers.remove(header).is_some(), "{reason}");
        }
        answer.body["request_id"].take();
        seen.push((answer.headers, answer.body.to_string()));
    }
    for (other, (reason, _)) in seen.iter().zip(&cases) {
        assert_eq!(other, &seen[0], "'{reason}' looks otherwise");
    }
    let total: f64 = ["missing", "malformed", "unknown", "mismatch", "revoked", "not_yet_valid", "expired"]
        .map(|reason| rejections(&app, reason))
        .iter()
        .sum();
    assert_eq!(total, cases.len() as f64, "each is counted once");
    assert_eq!(predict(&app, &valid.text, "doubler").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_taken_from_either_header_and_its_requests_are_counted() {
    let file = KeysFile::new();
    let key = file.create(&[]);
    let app = app(&file).await;
    let series = format!("api_key_requests_total{{key=\"{}\"}}", key.id);
    assert_eq!(app.series(&series), Some(0.0), "the series is there from the start");
    let headers: [&[(&str, String)]; 5] = [
        &[("Authorization", format!("Bearer {}", key.text))],
        &[("authorization", format!("bEaReR  {}", key.text))],
        &[("X-API-Key", key.text.clone())],
        &[("X-API-Key", key.text.clone()), ("Authorization", format!("Bearer {}", key.text))],
        &[("X-API-Key", key.text.clone()), ("Authorization", "Basic YTpi".to_owned())],
    ];
    for (count, headers) in headers.into_iter().enumerate() {
        let request = app.request(Method::GET, "/v1/models");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        assert_eq!(Answer::of(request).await.status, 200, "case {count}");
        assert_eq!(app.series(&series), Some(count as f64 + 1.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_but_the_public_ones_wants_a_key_with_its_scope() {
    let file = KeysFile::new();
    let keys = Scope::ALL.map(|scope| (scope, file.create(&["--scope", scope.as_str()])));
    let folder = tempfile::TempDir::new().unwrap();
    let app = app_with(&file, |config| {
        config.auth.public_metrics = false;
        // Or its routes were not there.
        config.history.mode = HistoryMode::Sqlite;
        config.history.sqlite_path = folder.path().join("predictions.db");
        config.history.spool_path = folder.path().join("spool");
    })
    .await;
    let (mut public, mut guarded) = (Vec::new(), 0);
    for route in routes(Some(Access::Key(Scope::Metrics))) {
        let method: Method = route.method.parse().unwrap();
        let path = route.path.replace("{model}", "doubler").replace("{version}", "1").replace("{file}", "main.js");
        let path = path.replace("{id}", "some-request");
        assert!(!path.contains('{'), "{path}: say here what the parameter stands for");
        let answer = Answer::of(app.request(method.clone(), &path)).await;
        let Access::Key(scope) = route.access else {
            assert_ne!(answer.status, 401, "{path}");
            public.push(route.path);
            continue;
        };
        guarded += 1;
        assert_eq!(answer.refusal(), UNAUTHENTICATED, "{path}");
        for (has, key) in &keys {
            let before = rejections(&app, "scope");
            let answer = ask(&app, method.clone(), &path, &key.text).await;
            let denied = answer.refusal() == DENIED;
            assert!(answer.status != 401 && denied == (*has != scope), "{path} with {has:?}: {}", answer.body);
            assert_eq!(rejections(&app, "scope") - before, f64::from(u8::from(denied)), "{path} with {has:?}");
            assert!(!denied || answer.body["detail"].as_str().unwrap().contains(scope.as_str()), "{}", answer.body);
        }
    }
    let own = ["/", "/healthz", "/readyz"];
    let pages = ["/console", "/console/{file}", "/openapi.json", "/docs", "/redoc"];
    let protocols = [
        "/v2",
        "/v2/",
        "/v2/health/live",
        "/v2/health/ready",
        "/inference.GRPCInferenceService/ServerLive",
        "/inference.GRPCInferenceService/ServerReady",
        "/inference.GRPCInferenceService/ServerMetadata",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ];
    assert_eq!(public, [&own[..], &pages, &protocols].concat());
    assert!(guarded >= 5, "only {guarded} routes are guarded");
    // What is not there is no secret.
    assert_eq!(app.get("/nowhere").await.0, 404);
    assert_eq!(app.get("/v1/predict").await.0, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_some_models_learns_nothing_of_the_others() {
    let file = KeysFile::new();
    let [one, all, none] = [&["--model", "dou*", "--model", "linear_?egression"][..], &[], &["--model", "nobody"]]
        .map(|options| file.create(options));
    let app = app(&file).await;
    assert_eq!(predict(&app, &one.text, "doubler").await.body["prediction"], json!([2.0]));

    let mut bodies = Vec::new();
    for model in ["toxicity", "no_such_model", "multi_io"] {
        let before = rejections(&app, "model");
        let mut batch = app.request(Method::POST, "/v1/predict_batch").bearer_auth(&one.text);
        batch = batch.json(&json!({"model": model, "inputs": [1]}));
        for mut answer in [
            predict(&app, &one.text, model).await,
            Answer::of(batch).await,
            ask(&app, Method::GET, &format!("/v1/models/{model}"), &one.text).await,
            ask(&app, Method::GET, &format!("/v1/models/{model}/versions/1"), &one.text).await,
            ask(&app, Method::GET, &format!("/v1/models/{model}/versions/77"), &one.text).await,
        ] {
            assert_eq!(answer.refusal(), DENIED, "{model}");
            answer.body["request_id"].take();
            bodies.push(answer.body.to_string());
        }
        assert_eq!(rejections(&app, "model") - before, 5.0, "{model}");
    }
    assert!(bodies.iter().all(|body| body == &bodies[0]), "what is there looks otherwise: {bodies:?}");
    // What cannot be a name is no model of anybody's.
    assert_eq!(predict(&app, &one.text, "no name").await.refusal(), (404, "model_not_found"));
    assert_eq!(predict(&app, &all.text, "no_such_model").await.refusal(), (404, "model_not_found"));

    let listed = async |key: &str| {
        let answer = ask(&app, Method::GET, "/v1/models", key).await;
        let models: &Vec<Value> = answer.body["models"].as_array().unwrap();
        models.iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&one.text).await, ["doubler", "linear_regression"]);
    assert_eq!(listed(&none.text).await, [""; 0]);
    assert!(listed(&all.text).await.contains(&"toxicity".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_names_no_model_is_judged_by_the_default_one() {
    let file = KeysFile::new();
    let [yes, no] = ["toxicity", "doubler"].map(|model| file.create(&["--model", model]));
    let app = app(&file).await;
    for (key, status) in [(&yes, 200), (&no, 403)] {
        for (path, body) in
            [("/v1/predict", json!({"text": "you are awful"})), ("/v1/predict_batch", json!({"texts": ["a"]}))]
        {
            let request = app.request(Method::POST, path).bearer_auth(&key.text).json(&body);
            assert_eq!(Answer::of(request).await.status, status, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_key_is_refused_before_the_body_is_read() {
    let file = KeysFile::new();
    file.create(&[]);
    let app = app(&file).await;
    let addr = app.addr;
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = "POST /v1/predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n";
        stream.write_all(format!("{head}Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n").as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    });
    assert_eq!(answer.await.unwrap(), "HTTP/1.1 401");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_not_told_which_models_there_are() {
    let file = KeysFile::new();
    file.create(&[]);
    let guarded = app(&file).await;
    let (status, page) = guarded.get("/").await;
    assert_eq!((status.as_u16(), &page["name"]), (200, &json!("glassbox")));
    assert!(page.get("models").is_none() && page.get("default_model").is_none(), "{page}");
    let (_, open) = TestApp::start().await.get("/").await;
    assert!(open["models"].as_array().is_some_and(|models| models.len() >= 5), "{open}");
    assert_eq!(open["default_model"], "toxicity");
}
