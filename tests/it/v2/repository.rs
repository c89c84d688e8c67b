//! Models that come and go while others are served.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{KeysFile, Repository, TestApp, eventually, project, python};

/// Copies a bundled model without its manifest, which says its name.
fn copy(repository: &Repository, bundled: &str, name: &str) -> PathBuf {
    let folder = repository.copy(bundled, name);
    repository.write(&format!("{name}/model.toml"), "");
    folder
}

/// A repository with the doubler under the name `m`.
fn repository() -> Repository {
    let repository = Repository::new();
    copy(&repository, "doubler", "m");
    repository
}

async fn serve(repository: &Repository, required: &[&str]) -> TestApp {
    TestApp::with(|config| {
        config.models.repository = Some(repository.path());
        config.models.default = None;
        config.models.required = required.iter().map(|name| (*name).to_owned()).collect();
        // Answers must come from the version that is served, and not from what it said before.
        config.cache.mode = glassbox::config::CacheMode::Off;
    })
    .await
}

async fn post(app: &TestApp, path: &str) -> (StatusCode, Value) {
    TestApp::json(app.request(Method::POST, path)).await
}

async fn infer(app: &TestApp) -> (StatusCode, Value) {
    let input = json!({"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]});
    app.post("/v2/models/m/infer", json!({"inputs": [input]})).await
}

/// The state of every version in the index.
async fn states(app: &TestApp) -> Vec<String> {
    let (status, index) = post(app, "/v2/repository/index").await;
    assert_eq!(status, StatusCode::OK, "{index}");
    let line = |entry: &Value| {
        let part = |name: &str| entry[name].as_str().unwrap().to_owned();
        format!("{}/{} {} {}", part("name"), part("version"), part("state"), part("reason"))
    };
    index.as_array().unwrap().iter().map(|entry| line(entry).trim_end().to_owned()).collect()
}

/// A graph that multiplies by `factor`, in the doubler's place.
fn multiply_by(folder: &Path, factor: u32) {
    let graph = folder.join("1/model.onnx");
    python("python/factor_graph.py", &[graph.to_str().unwrap(), &factor.to_string()], "");
    let sample = json!({"input": [1.0], "prediction": [factor]});
    fs::write(folder.join("1/golden.json"), json!({"samples": [sample]}).to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_replaced_under_traffic_and_no_request_is_lost() {
    let repository = repository();
    let folder = repository.path().join("m");
    let app = Arc::new(serve(&repository, &["*"]).await);
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers = (0..4).map(|_| {
        let (app, stop, answers) = (Arc::clone(&app), Arc::clone(&stop), Arc::clone(&answers));
        #[expect(clippy::disallowed_methods, reason = "the test stands outside of the app's lifecycle")]
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let (status, answer) = infer(&app).await;
                assert_eq!(status, StatusCode::OK, "{answer}");
                let number = answer["outputs"][0]["data"][0].as_f64().unwrap();
                assert!((2.0..=6.0).contains(&number), "{answer}");
                answers.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    for factor in [3, 4, 5, 6] {
        let before = answers.load(Ordering::Relaxed);
        eventually("answers go on", async || answers.load(Ordering::Relaxed) > before + 20).await;
        multiply_by(&folder, factor);
        assert_eq!(post(&app, "/v2/repository/models/m/load").await.0, StatusCode::OK);
        // From the answer on, it is the new one.
        assert_eq!(infer(&app).await.1["outputs"][0]["data"], json!([f64::from(factor)]));
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    let digests = app.get("/v1/models/m").await.1["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let info = format!("model_info{{digest=\"{digests}\",model=\"m\",provider=\"onnxruntime-cpu\",version=\"1\"}}");
    assert_eq!(app.series(&info), Some(1.0));
    assert_eq!(app.series("model_loads_total{result=\"ok\"}"), Some(5.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unloaded_model_is_not_ready_until_it_is_loaded_again() {
    let repository = repository();
    repository.stub("other");
    for (required, ready) in [(&["*"][..], 200), (&["m"], 503)] {
        let app = serve(&repository, required).await;
        assert_eq!(post(&app, "/v2/repository/models/m/unload").await.0, StatusCode::OK);
        let (status, answer) = infer(&app).await;
        assert_eq!((status.as_u16(), &answer["code"]), (503, &json!("model_not_ready")), "{answer}");
        assert_eq!(states(&app).await, ["m/1 UNAVAILABLE unloaded", "other/1 READY"]);
        let (status, answer) = app.get("/v2/models/m/ready").await;
        assert_eq!((status.as_u16(), &answer["ready"]), (503, &json!(false)), "{answer}");
        // What somebody asked for is out of order only where it is required by its name.
        let (status, answer) = app.get("/readyz").await;
        assert_eq!((status.as_u16(), &answer["reasons"][0]["state"]), (ready, &json!("unloaded")), "{answer}");
        assert_eq!(app.get("/v2/health/ready").await.0.as_u16(), ready);
        assert_eq!(app.series("model_instances{model=\"m\",version=\"1\"}"), None);
        assert_eq!(post(&app, "/v2/repository/models/m/load").await.0, StatusCode::OK);
        assert_eq!(infer(&app).await.0, StatusCode::OK);
        assert_eq!(app.get("/readyz").await.0.as_u16(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_leaves_what_is_served_in_place() {
    let repository = repository();
    let app = serve(&repository, &["*"]).await;
    for (file, words) in [("m/1/model.onnx", "version '1' could not be loaded"), ("m/model.toml", "model.toml")] {
        let path = repository.path().join(file);
        let good = fs::read(&path).unwrap();
        fs::write(&path, "no such thing").unwrap();
        let (status, answer) = post(&app, "/v2/repository/models/m/load").await;
        assert_eq!((status.as_u16(), &answer["code"]), (503, &json!("model_not_ready")), "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(words), "{answer}");
        assert_eq!(infer(&app).await.0, StatusCode::OK, "{file}");
        assert_eq!(states(&app).await, ["m/1 READY"]);
        assert_eq!(app.series("models_failed"), Some(0.0));
        fs::write(&path, good).unwrap();
    }
    assert_eq!(app.series("model_loads_total{result=\"failed\"}"), Some(2.0));
    assert_eq!(post(&app, "/v2/repository/models/m/load").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_loaded_is_served_once_it_is_mended() {
    let repository = repository();
    let graph = repository.write("m/1/model.onnx", "no graph");
    let app = serve(&repository, &["*"]).await;
    assert_eq!((app.series("models_failed"), app.get("/readyz").await.0.as_u16()), (Some(1.0), 503));
    fs::copy(project().join("model/doubler/1/model.onnx"), graph).unwrap();
    assert_eq!(post(&app, "/v2/repository/models/m/load").await.0, StatusCode::OK);
    assert_eq!(infer(&app).await.0, StatusCode::OK);
    assert_eq!((app.series("models_failed"), app.get("/readyz").await.0.as_u16()), (Some(0.0), 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn models_and_versions_that_come_later_are_listed_and_can_be_loaded() {
    let repository = Repository::new();
    copy(&repository, "multi_io", "first");
    let app = serve(&repository, &["*"]).await;
    let folder = copy(&repository, "doubler", "m");
    let later = "it has come into the repository since the start; it can be loaded";
    assert_eq!(states(&app).await, ["first/1 READY", &format!("m/ UNAVAILABLE {later}")]);
    assert_eq!(infer(&app).await.0, StatusCode::NOT_FOUND);
    assert_eq!(post(&app, "/v2/repository/models/m/load").await.0, StatusCode::OK);
    assert_eq!(infer(&app).await.1["model_version"], "1");
    fs::create_dir(folder.join("2")).unwrap();
    fs::copy(folder.join("1/model.onnx"), folder.join("2/model.onnx")).unwrap();
    assert_eq!(post(&app, "/v2/repository/models/m/load").await.0, StatusCode::OK);
    assert_eq!(infer(&app).await.1["model_version"], "2");
    assert_eq!(app.get("/v2/models/m").await.1["versions"], json!(["1", "2"]));
    fs::remove_dir_all(folder.join("2")).unwrap();
    assert_eq!(post(&app, "/v2/repository/models/m/load").await.0, StatusCode::OK);
    assert_eq!(states(&app).await, ["first/1 READY", "m/1 READY"]);
    // Gone from the repository, it is served until somebody unloads it.
    fs::remove_dir_all(folder).unwrap();
    assert_eq!(post(&app, "/v2/repository/models/m/load").await.0, StatusCode::NOT_FOUND);
    assert_eq!(infer(&app).await.0, StatusCode::OK);
    for bad in ["nowhere", "..", ".", "%2e%2e", "a%2fb", "m%00"] {
        for verb in ["load", "unload"] {
            let (status, answer) = post(&app, &format!("/v2/repository/models/{bad}/{verb}")).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{bad}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_change_what_is_served_and_only_the_models_of_their_key() {
    let (repository, keys) = (repository(), KeysFile::new());
    repository.stub("other");
    let (caller, operator) = (keys.create(&[]), keys.create(&["--scope", "admin", "--model", "other"]));
    let app = TestApp::with(|config| {
        config.models.repository = Some(repository.path());
        config.models.default = None;
        config.auth.keys_file = Some(keys.path().to_owned());
    })
    .await;
    let ask = async |key: &str, path: &str| TestApp::json(app.request(Method::POST, path).bearer_auth(key)).await;
    for path in ["/v2/repository/index", "/v2/repository/models/m/unload", "/v2/repository/models/other/load"] {
        assert_eq!(ask(&caller.text, path).await.0, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(ask(&operator.text, "/v2/repository/models/m/unload").await.0, StatusCode::FORBIDDEN);
    assert_eq!(ask(&operator.text, "/v2/repository/models/other/load").await.0, StatusCode::OK);
    let (_, index) = ask(&operator.text, "/v2/repository/index").await;
    assert_eq!(index.as_array().unwrap().len(), 1, "{index}");
}
