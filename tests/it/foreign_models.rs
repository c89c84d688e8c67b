//! ONNX files that were not made here: a file is all that serving needs.
//!
//! Python makes the graphs and runs them with its own onnxruntime; the server must give the same answers, alone and in
//! a batch. `python/foreign_*.py` are the tables.

mod broken;
mod compare;
mod files;
mod sizes;

use std::{path::PathBuf, sync::LazyLock};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{TestApp, python, serve_files};

/// A file that Python made, and what is to be seen of it.
#[derive(Debug, Deserialize)]
struct Model {
    name: String,
    inputs: Value,
    outputs: Value,
    /// Whether rows are independent of each other.
    batched: bool,
    /// 0 when not a bit may differ.
    tolerance: f64,
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    input: Value,
    prediction: Value,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_datatype_arrives_unchanged_at_every_rank() {
    every_answer_is_the_library_s_own("datatypes", 150).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_and_outputs_of_every_form_are_served() {
    every_answer_is_the_library_s_own("shapes", 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_share_a_run_only_where_that_changes_no_answer() {
    every_answer_is_the_library_s_own("batching", 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_graph_cannot_compute_is_told_to_the_caller_item_by_item() {
    models("shapes");
    let files = ["stateful", "embedding"].map(|name| folder().join(format!("{name}.onnx")));
    let app = TestApp::with(|config| serve_files(config, files.into())).await;
    let state = |rows: usize| vec![vec![vec![0.0; 128]; rows]; 2];
    let stateful = |rows, states| json!({"input": vec![[0.5]; rows], "state": state(states), "sr": 8000});
    // Two states cannot be added to three rows.
    let (fit, misfit) = (stateful(3, 3), stateful(3, 2));
    for (model, good, bad) in [("stateful", fit, misfit), ("embedding", json!([0, 1]), json!([0, 9]))] {
        let single = app.post("/v1/predict", json!({"model": model, "input": bad})).await;
        assert_eq!(rejected(&single), ["/input"], "{single:?}");
        let batch = json!({"model": model, "inputs": [good, bad, good, bad]});
        let batch = app.post("/v1/predict_batch", batch).await;
        assert_eq!(rejected(&batch), ["/inputs/1", "/inputs/3"], "{batch:?}");
    }
}

/// Where an answer points at what the model did not take.
fn rejected((status, answer): &(reqwest::StatusCode, Value)) -> Vec<&str> {
    assert_eq!((status.as_u16(), &answer["code"]), (422, &json!("invalid_input")), "{answer}");
    let errors = answer["errors"].as_array().unwrap().iter();
    errors
        .filter(|error| error["code"] == "rejected_by_model")
        .map(|error| error["pointer"].as_str().unwrap())
        .collect()
}

/// All faults of a group are told together: they usually have one cause.
async fn every_answer_is_the_library_s_own(group: &str, at_least: usize) {
    let models = models(group);
    assert!(models.len() >= at_least, "the table has {} models only", models.len());
    let files = models.iter().map(|model| folder().join(format!("{}.onnx", model.name))).collect();
    let app = TestApp::with(|config| serve_files(config, files)).await;
    let mut faults = Vec::new();
    for model in &models {
        faults.extend(model.faults(&app).await.into_iter().map(|fault| format!("{}: {fault}", model.name)));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert_eq!(app.get("/readyz").await.0, 200);
}

impl Model {
    /// What the server tells and answers otherwise than it should.
    async fn faults(&self, app: &TestApp) -> Vec<String> {
        let mut faults = Vec::new();
        let (_, told) = app.get(&format!("/v1/models/{}", self.name)).await;
        let batched = told["batching"]["max_batch_size"].as_u64().is_some_and(|rows| rows > 1);
        for (told, expected, what) in [
            (&told["state"], &json!("ready"), "state"),
            (&told["inputs"], &self.inputs, "inputs"),
            (&told["outputs"], &self.outputs, "outputs"),
            (&json!(batched), &json!(self.batched), "batching"),
        ] {
            if told != expected {
                faults.push(format!("{what} {told}, expected {expected}"));
            }
        }
        for Item { input, prediction } in &self.items {
            let (_, answer) = app.post("/v1/predict", json!({"model": self.name, "input": input})).await;
            faults.extend(self.difference(&answer, "/prediction", prediction).map(|fault| format!("{input}: {fault}")));
        }
        if self.items.is_empty() {
            return faults;
        }
        let inputs: Vec<_> = self.items.iter().map(|item| &item.input).collect();
        let (status, answer) = app.post("/v1/predict_batch", json!({"model": self.name, "inputs": inputs})).await;
        if status != 200 {
            faults.push(format!("the batch is answered with {answer}"));
            return faults;
        }
        for (index, Item { input, prediction }) in self.items.iter().enumerate() {
            let difference = self.difference(&answer, &format!("/predictions/{index}/prediction"), prediction);
            faults.extend(difference.map(|fault| format!("{input} in a batch: {fault}")));
        }
        faults
    }

    fn difference(&self, answer: &Value, pointer: &str, expected: &Value) -> Option<String> {
        let Some(got) = answer.pointer(pointer) else { return Some(answer["detail"].to_string()) };
        let datatype = |output: &Value| output["datatype"].as_str().unwrap().to_owned();
        match self.outputs.as_array().map(Vec::as_slice) {
            Some([only]) => compare::difference(got, expected, &datatype(only), self.tolerance),
            outputs => outputs.unwrap().iter().find_map(|output| {
                let name = output["name"].as_str().unwrap();
                compare::difference(&got[name], &expected[name], &datatype(output), self.tolerance)
            }),
        }
    }
}

/// Where Python puts the files; the next run takes them away.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("foreign_models")
}

/// Makes all files once, whichever test is first.
fn models(group: &str) -> Vec<Model> {
    static MADE: LazyLock<Value> = LazyLock::new(|| {
        let folder = folder();
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let made = python("python/foreign_models.py", &[folder.to_str().unwrap()], "");
        serde_json::from_str(&made).unwrap()
    });
    serde_json::from_value(MADE[group].clone()).unwrap()
}
