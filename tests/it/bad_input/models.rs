//! Models that are not there, or not ready.

use reqwest::Method;
use serde_json::json;

use super::answer::{Answer, MALFORMED, NO_MODEL, SECRET, post, refused, still_answers};
use crate::support::{Repository, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_there_is_not_found_whatever_its_name() {
    let app = TestApp::start().await;
    let long = "x".repeat(10_000);
    let names = [
        "nobody",
        "",
        " ",
        ".",
        "..",
        "../etc/passwd",
        "/etc/passwd",
        "..\\..\\windows",
        "doubler/1",
        "doubler ",
        "Doubler",
        "doubler\u{0}",
        "\u{1b}[2J\u{7}\r\nX-Evil: 1",
        "ｄｏｕｂｌｅｒ",
        "*",
        "%2e%2e",
        "model.toml",
        &long,
    ];
    for name in names {
        for (body, path) in [
            (json!({"model": name, "input": [77_317_731]}), "/v1/predict"),
            (json!({"model": name, "version": "1", "text": SECRET}), "/v1/predict"),
            (json!({"model": name, "texts": [SECRET]}), "/v1/predict_batch"),
            (json!({"model": "doubler", "version": name, "input": [77_317_731]}), "/v1/predict"),
        ] {
            let (answer, case) = (post(&app, path, body.to_string()).await, format!("{path} {name:.20?}"));
            let problem = answer.problem(NO_MODEL, &case);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.len() < 600 && !detail.contains(char::is_control), "{case}: {detail}");
        }
    }
    still_answers(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_names_a_model_that_is_there() {
    let app = TestApp::start().await;
    let long = format!("/v1/models/{}", "x".repeat(10_000));
    for path in [
        "/v1/models/nobody",
        "/v1/models/doubler%20",
        "/v1/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/v1/models/a%00%1b%5b2J",
        "/v1/models/doubler/versions/2",
        "/v1/models/doubler/versions/..%2f1",
        "/v1/models/nobody/versions/1",
        &long,
    ] {
        let answer = Answer::of(app.request(Method::GET, path)).await;
        let problem = answer.problem(NO_MODEL, path);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.len() < 600 && !detail.contains(char::is_control), "{path}: {detail}");
    }
    for path in ["/v1/models/%ff%fe", "/v1/models/doubler/versions/%c0"] {
        let answer = Answer::of(app.request(Method::GET, path)).await;
        answer.fault(MALFORMED, ("", "invalid_path"), path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_default_model_a_request_must_name_one() {
    let app = TestApp::with(|config| config.models.default = None).await;
    refused(&app, "/v1/predict", MALFORMED, &[(r#"{"text":"77317731"}"#, "/model", "missing_model")]).await;
    refused(&app, "/v1/predict_batch", MALFORMED, &[(r#"{"texts":["77317731"]}"#, "/model", "missing_model")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_be_served_is_refused_with_a_reason_and_a_time_to_come_back() {
    let repository = Repository::new();
    repository.copy("doubler", "doubler");
    repository.copy("doubler", "no_graph");
    repository.write("no_graph/1/model.onnx", SECRET);
    repository.write("no_graph/model.toml", "name = \"no_graph\"\ntask = \"tensor\"\n");
    repository.write("no_manifest/model.toml", "name = 5");
    repository.write("empty/model.toml", "name = \"empty\"\ntask = \"tensor\"\n");
    let app = TestApp::with(|config| {
        config.models.repository = Some(repository.path());
        config.models.default = None;
    })
    .await;
    let folder = repository.path().display().to_string();
    for model in ["no_graph", "no_manifest", "empty"] {
        for (path, body) in [
            ("/v1/predict", json!({"model": model, "input": [77_317_731]})),
            ("/v1/predict_batch", json!({"model": model, "inputs": [[77_317_731]]})),
        ] {
            let answer = post(&app, path, body.to_string()).await;
            let problem = answer.problem((503, "model_not_ready"), model);
            assert!(problem["detail"].as_str().unwrap().contains(model), "{problem}");
            assert!(!answer.text().contains(&folder), "{problem}");
        }
        let described = Answer::of(app.request(Method::GET, &format!("/v1/models/{model}"))).await;
        assert_eq!(described.status, 200, "{}", described.text());
        assert!(described.json()["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{}", described.text());
        assert!(!described.text().contains(&folder), "{}", described.text());
    }
    let ready = Answer::of(app.request(Method::GET, "/readyz")).await;
    let problem = ready.problem((503, "model_not_ready"), "/readyz");
    assert_eq!(problem["reasons"].as_array().unwrap().len(), 3, "{problem}");
    still_answers(&app).await;
}
