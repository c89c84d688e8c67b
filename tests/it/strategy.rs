//! Which graphs may be run on a thread that holds requests: those alone whose work the size of their input bounds.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Repository, TestApp, python, serve_files};

fn graphs() -> TempDir {
    let folder = TempDir::new().unwrap();
    python("python/costly_graphs.py", &[folder.path().to_str().unwrap()], "");
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn name(file: &Path) -> String {
    file.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// What is told of the runs of each of `files`.
async fn executions(files: Vec<PathBuf>) -> Vec<(String, Value)> {
    let names: Vec<String> = files.iter().map(|file| name(file)).collect();
    let app = TestApp::with(|config| serve_files(config, files)).await;
    let mut told = Vec::new();
    for name in names {
        let (_, model) = app.get(&format!("/v1/models/{name}")).await;
        assert_eq!(model["state"], "ready", "{name}: {model}");
        told.push((name, model["execution"].clone()));
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn no_graph_in_which_a_small_input_is_a_lot_of_work_is_run_inline() {
    let graphs = graphs();
    let told = executions(files(&graphs.path().join("costly"))).await;
    assert_eq!(told.len(), 10);
    for (name, execution) in told {
        assert_ne!(execution["strategy"], "inline", "{name}: {execution}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn short_graphs_of_bounded_work_are_run_inline() {
    let graphs = graphs();
    for (name, execution) in executions(files(&graphs.path().join("plain"))).await {
        assert_eq!(execution["strategy"], "inline", "{name}: {execution}");
    }
    let app = TestApp::start().await;
    for model in ["doubler", "linear_regression", "multi_io", "toxicity"] {
        let (_, told) = app.get(&format!("/v1/models/{model}")).await;
        let (strategy, reason) = (&told["execution"]["strategy"], told["execution"]["reason"].as_str().unwrap());
        // A machine that is busy at the wrong moment measures any time; what the graph allows does not depend on that.
        assert!(strategy == "inline" || !reason.contains("but"), "{model}: {told}");
    }
}

/// A thousand rows of this graph are at least a hundred megabytes on their way, which no machine does in two milliseconds.
#[tokio::test(flavor = "multi_thread")]
async fn inputs_whose_runs_would_be_long_are_not_run_inline() {
    let graphs = graphs();
    let told = executions(files(&graphs.path().join("wide"))).await;
    let (_, execution) = &told[0];
    let reason = execution["reason"].as_str().unwrap();
    if execution["strategy"] == "inline" {
        let (_, most) = reason.split_once("of up to ").unwrap();
        let most: usize = most.split(' ').next().unwrap().parse().unwrap();
        assert!(most < 4096, "{execution}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_cannot_have_a_graph_run_inline_whose_work_is_not_bounded() {
    let graphs = graphs();
    let repository = Repository::new();
    for (name, operator) in [("einsum", "Einsum"), ("add", "Add"), ("gather", "Gather")] {
        let graph = graphs.path().join(format!("costly/{name}.onnx"));
        repository.write(&format!("{name}/1/model.onnx"), std::fs::read(graph).unwrap());
        repository.write(&format!("{name}/model.toml"), "execution.strategy = \"inline\"\n");
        let path = repository.path().to_owned();
        let app = TestApp::with(move |config| {
            config.models.repository = Some(path);
            config.models.default = None;
        })
        .await;
        let (status, body) = app.post("/v1/predict", json!({"model": name, "input": [1]})).await;
        let detail = body["detail"].as_str().unwrap();
        assert!(status == 503 && detail.contains("\"inline\"") && detail.contains(operator), "{body}");
    }
}
