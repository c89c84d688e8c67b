//! Models whose graphs a command makes: before it has run, and when it has made some of them.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::serve;
use crate::support::{Repository, Server, TestApp, TestAppBuilder, glassbox, onnxruntime, run};

const REASON: &str = "it is not built yet: run 'make models'";

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_built_is_told_and_the_others_are_served() {
    let repository = repository();
    let app = TestApp::with(|config| serve(config, repository.path())).await;
    let (status, ready) = app.get("/readyz").await;
    let reason = |version: &str| json!({"model": version, "state": "not_built", "reason": REASON, "required": false});
    let expected = json!({"status": "ready", "reasons": [reason("made/1"), reason("made/2")]});
    assert_eq!((status, ready), (StatusCode::OK, expected));

    let (_, models) = app.get("/v1/models").await;
    let listed = models["models"].as_array().unwrap().iter().find(|model| model["name"] == "made").unwrap();
    assert_eq!((&listed["state"], &listed["default_version"]), (&json!("not_built"), &json!("2")));
    let (_, told) = app.get("/v1/models/made").await;
    assert_eq!((&told["state"], &told["reason"]), (&json!("not_built"), &json!(REASON)));
    let (status, problem) = app.post("/v1/predict", json!({"model": "made", "text": "the"})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("model_not_ready")));
    assert!(problem["detail"].as_str().unwrap().ends_with(REASON), "{problem}");
    assert_eq!(app.predict(json!({"model": "doubler", "input": [1]})).await, json!([2.0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_requires_it_by_name_waits_for_a_model_that_is_not_built() {
    let repository = repository();
    for (required, ready) in [("*", true), ("doubler", true), ("made", false)] {
        let app = TestAppBuilder::new(|config| {
            serve(config, repository.path());
            config.models.required = vec![required.to_owned()];
        });
        let app = app.start().await;
        app.until_loaded().await;
        let (status, _) = app.get("/readyz").await;
        assert_eq!(status.is_success(), ready, "{required}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_built_of_a_model_is_served_and_the_rest_is_told() {
    let repository = repository();
    let graph = std::fs::read(repository.path().join("doubler/1/model.onnx")).unwrap();
    repository.write("made/1/model.onnx", graph);
    let app = TestApp::with(|config| serve(config, repository.path())).await;
    let (_, told) = app.get("/v1/models/made").await;
    let versions = json!([{"version": "1", "state": "ready"}, {"version": "2", "state": "not_built"}]);
    assert_eq!((&told["versions"], &told["default_version"]), (&versions, &json!("2")));
    assert_eq!(app.predict(json!({"model": "made", "version": "1", "input": [1]})).await, json!([2.0]));
    let (status, problem) = app.post("/v1/predict", json!({"model": "made", "input": [1]})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("model_not_ready")));
}

#[test]
fn the_log_says_once_that_a_model_is_not_built_and_the_table_lists_it() {
    let repository = repository();
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::start(command.env("GLASSBOX__MODELS__REPOSITORY", repository.path()));
    let said = |line: &&Value| line["message"].as_str().is_some_and(|message| message.contains(REASON));
    let lines: Vec<_> = server.log.iter().filter(said).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["model"], &lines[0]["versions"]), (&json!("made"), &json!("1, 2")));

    let mut command = glassbox(&["models"]);
    let finished = run(command
        .env("GLASSBOX__MODELS__REPOSITORY", repository.path())
        .env("GLASSBOX__RUNTIME__ONNXRUNTIME_PATH", onnxruntime()));
    assert!(finished.stdout.contains(&format!("made/2: {REASON}")), "{}", finished.stdout);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

/// A model that is served, and one whose folders hold only what describes it.
fn repository() -> Repository {
    let repository = Repository::new();
    repository.copy("doubler", "doubler");
    repository.write("made/model.toml", "source.build = \"make models\"\nversions.default = \"2\"");
    repository.write("made/1/metrics.json", "{}");
    repository
}
