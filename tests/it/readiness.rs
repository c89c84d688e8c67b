//! What is ready, what is not and why, and which version answers.

use std::{fs, path::Path};

use glassbox::config::Config;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Metrics, Repository, TestApp, TestAppBuilder, glassbox, project, python, run, variable};

/// A broken model: its name, the files that break it, and what is to be said about it.
type Broken = (&'static str, Vec<(&'static str, Vec<u8>)>, &'static str);

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_model_is_reported_with_its_reason_and_the_others_are_served() {
    let (repository, cases) = broken_models();
    repository.copy("doubler", "doubler");
    let app = serve(&repository, |config| config.models.required = vec!["doubler".to_owned()]).await;

    let (status, ready) = app.get("/readyz").await;
    assert_eq!((status, &ready["status"]), (StatusCode::OK, &json!("degraded")));
    let (_, models) = app.get("/v1/models").await;
    let mut wrong = Vec::new();
    for (name, expected) in &cases {
        let name_or_version = |item: &&Value| item["model"] == *name || item["model"] == format!("{name}/1");
        let reported = ready["reasons"].as_array().unwrap().iter().find(name_or_version);
        let Some(reported) = reported else {
            wrong.push(format!("{name} is not reported"));
            continue;
        };
        let reason = reported["reason"].as_str().unwrap();
        assert_eq!((&reported["state"], &reported["required"]), (&json!("failed"), &json!(false)), "{name}");
        if !reason.contains(expected) {
            wrong.push(format!("{name}: '{reason}' does not say '{expected}'"));
        }
        assert_holds_no_path(reason, &repository.path());

        let listed = models["models"].as_array().unwrap().iter().find(|model| model["name"] == *name).unwrap();
        assert_eq!(listed["state"], "failed", "{name}");
        let (_, model) = app.get(&format!("/v1/models/{name}")).await;
        assert_eq!((&model["state"], &model["reason"]), (&json!("failed"), &json!(reason)), "{name}");
        let (status, problem) = app.post("/v1/predict", json!({"model": name, "input": [1]})).await;
        assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("model_not_ready")), "{name}: {problem}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(ready["reasons"].as_array().unwrap().len(), cases.len(), "{ready}");
    assert_eq!(app.predict(json!({"model": "doubler", "input": [1]})).await, json!([2.0]));
}

/// A repository of models that cannot be served, each with what is to be said about it.
fn broken_models() -> (Repository, Vec<(&'static str, &'static str)>) {
    let bundled = |model: &str| fs::read(project().join("model").join(model).join("1/model.onnx")).unwrap();
    let (doubler, toxicity) = (bundled("doubler"), bundled("toxicity"));
    let manifest = |text: &str| ("model.toml", text.as_bytes().to_vec());
    let graph = |bytes: &[u8]| ("1/model.onnx", bytes.to_vec());
    let golden = |samples: Value| ("1/golden.json", json!({"samples": samples}).to_string().into_bytes());
    let cases: Vec<Broken> = vec![
        ("unknown_key", vec![graph(&doubler), manifest("colour = 1")], "model.toml: "),
        ("no_toml", vec![graph(&doubler), manifest("name = ")], "model.toml: "),
        (
            "other_name",
            vec![graph(&doubler), manifest("name = 'doubler'")],
            "the name is 'doubler', but the folder's is",
        ),
        ("no_version", vec![manifest("")], "there is no version"),
        ("absent_version", vec![graph(&doubler), manifest("versions.serve = ['3']")], "'3/model.onnx' is not there"),
        (
            "absent_default",
            vec![graph(&doubler), manifest("versions.default = '3'")],
            "versions.default '3' is not served",
        ),
        ("no_graph", vec![graph(b"This is no graph.")], "Protobuf parsing failed"),
        ("empty_graph", vec![graph(b"")], "model.onnx"),
        ("half_graph", vec![graph(&toxicity[..toxicity.len() / 2])], "Protobuf parsing failed"),
        ("folder_graph", vec![("1/model.onnx/file", vec![])], "directory"),
        ("no_weights", vec![graph(&python_graph("python/external_graph.py"))], "weights.bin"),
        (
            "wrong_sample",
            vec![
                graph(&doubler),
                golden(json!([{"input": [1], "prediction": [2]}, {"input": [1, 2], "prediction": [2, 5]}])),
            ],
            "golden.json: sample 1 differs: /prediction/1 is 4, expected 5 (off by 1e0)",
        ),
        (
            "wrong_shape",
            vec![graph(&doubler), golden(json!([{"input": [1], "prediction": [2, 4]}]))],
            "golden.json: sample 0 differs: /prediction is [2.0], expected [2,4]",
        ),
        (
            "sample_of_text",
            vec![graph(&doubler), golden(json!([{"text": "one", "prediction": [2]}]))],
            "golden.json: sample 0 was not answered: this model takes no text",
        ),
        (
            "sample_of_nothing",
            vec![graph(&doubler), golden(json!([{"prediction": [2]}]))],
            "needs either 'text' or 'input'",
        ),
        ("no_samples", vec![graph(&doubler), ("1/golden.json", b"{".to_vec())], "golden.json cannot be read"),
        ("no_metrics", vec![graph(&doubler), ("1/metrics.json", b"{".to_vec())], "metrics.json cannot be read"),
        (
            "three_labels",
            vec![graph(&toxicity), classifier("labels = ['a', 'b', 'c']\noutput.name = 'probabilities'")],
            "the manifest has 3 labels, the graph 2 classes",
        ),
        (
            "no_labels",
            vec![graph(&toxicity), classifier("output.name = 'probabilities'")],
            "the manifest has no 'labels'",
        ),
        (
            "no_labels_dynamic",
            vec![graph(&doubler), manifest("task = 'classification'")],
            "the manifest has no 'labels', and the graph does not name its classes",
        ),
        (
            "three_labels_for_named_classes",
            vec![
                graph(&python_graph("python/named_classes_graph.py")),
                manifest("task = 'classification'\nlabels = ['a', 'b', 'c']"),
            ],
            "the manifest has 3 labels, the graph 2 classes",
        ),
        (
            "words_for_numbers",
            vec![graph(&toxicity), classifier("labels = ['a', 'b']\noutput.name = 'label'")],
            "output 'label' is BYTES, and probabilities are FP16",
        ),
        ("no_choice", vec![graph(&toxicity), classifier("labels = ['a', 'b']")], "'output.name' must say which of"),
        ("no_output", vec![graph(&doubler), manifest("output.name = 'z'")], "the graph has no output 'z', only y"),
        (
            "no_text_input",
            vec![graph(&doubler), manifest("text.input = 'z'")],
            "text.input 'z' is not an input of the graph",
        ),
        ("text_for_numbers", vec![graph(&doubler), manifest("text.input = 'x'")], "text.input 'x' is FP32, not BYTES"),
        (
            "fixed_rows",
            vec![graph(&python_graph("python/loop_graph.py")), manifest("batching.max_batch_size = 4")],
            "not every input and output starts with a dynamic dimension",
        ),
    ];
    let repository = Repository::new();
    for (name, files, _) in &cases {
        for (file, content) in files {
            repository.write(&format!("{name}/{file}"), content);
        }
    }
    (repository, cases.into_iter().map(|(name, _, expected)| (name, expected)).collect())
}

/// The graph that a script writes.
fn python_graph(script: &str) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    python(script, &[file.path().to_str().unwrap()], "");
    fs::read(file.path()).unwrap()
}

fn classifier(text: &str) -> (&'static str, Vec<u8>) {
    ("model.toml", format!("task = 'classification'\ntext.input = 'text'\n{text}").into_bytes())
}

/// JSON pointers look like paths, but lead nowhere.
fn assert_holds_no_path(reason: &str, repository: &Path) {
    assert!(!reason.contains(repository.to_str().unwrap()), "{reason}");
    let words = reason.split(|c: char| c.is_whitespace() || "'\"`():,".contains(c));
    for word in words.filter(|word| word.len() > 1 && word.starts_with('/')) {
        assert!(!Path::new(word).exists(), "{word} is a path of the machine: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_waits_for_what_is_required() {
    type Case = (bool, &'static [&'static str], Option<&'static str>, u16, &'static str, Value);
    let (healthy, broken) = (false, true);
    let cases: [Case; 9] = [
        (healthy, &["*"], None, 200, "ready", json!([])),
        (healthy, &[], None, 200, "ready", json!([])),
        (healthy, &["absent"], None, 503, "model_not_ready", json!([["absent", "missing", true]])),
        (healthy, &["*"], Some("absent"), 503, "model_not_ready", json!([["absent", "missing", true]])),
        (broken, &["*"], None, 503, "model_not_ready", json!([["bad", "failed", true]])),
        (broken, &["good", "bad"], None, 503, "model_not_ready", json!([["bad", "failed", true]])),
        (broken, &["good"], None, 200, "degraded", json!([["bad", "failed", false]])),
        (broken, &[], None, 200, "degraded", json!([["bad", "failed", false]])),
        (
            broken,
            &["good", "absent"],
            None,
            503,
            "model_not_ready",
            json!([["absent", "missing", true], ["bad", "failed", false]]),
        ),
    ];
    for (broken, required, default, status, word, expected) in cases {
        let repository = Repository::new();
        repository.stub("good");
        if broken {
            repository.write("bad/model.toml", "provider = 'stub'");
        }
        let app = serve(&repository, |config| {
            config.models.required = required.iter().map(|name| (*name).to_owned()).collect();
            config.models.default = default.map(str::to_owned);
        })
        .await;
        let (got, answer) = app.get("/readyz").await;
        let place = format!("required {required:?}, one broken: {broken}: {answer}");
        assert_eq!(got, status, "{place}");
        assert_eq!(answer[if status == 200 { "status" } else { "code" }], word, "{place}");
        let mut reasons: Vec<Value> = answer["reasons"].as_array().unwrap().clone();
        reasons.sort_by_key(|item| item["model"].to_string());
        let reasons: Value =
            reasons.iter().map(|item| json!([item["model"], item["state"], item["required"]])).collect();
        assert_eq!(reasons, expected, "{place}");
        let metrics = Metrics::of(&app).await;
        assert_eq!(metrics.sum("server_ready", &[]), f64::from(u8::from(status == 200)), "{place}");
        let failed = metrics.sum("model_loads_total", &["result=\"failed\""]);
        assert_eq!(failed, f64::from(u8::from(broken)), "{place}");
        assert_eq!(app.post("/v1/predict", json!({"model": "good", "text": "hello"})).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_version_is_the_highest_number_or_the_manifests_choice() {
    type Names = &'static [&'static str];
    let cases: [(Names, &str, &str, Names, Names); 6] = [
        (&["1"], "", "1", &["1"], &["2"]),
        (&["9", "10", "2"], "", "10", &["2", "9", "10"], &["1", "010", "10.0", "latest", "../10", ""]),
        (&["1", "canary"], "", "1", &["canary", "1"], &["Canary"]),
        (&["1", "2"], "versions.default = '1'", "1", &["1", "2"], &[]),
        (&["1", "2", "3"], "versions.serve = ['2', '1']", "2", &["1", "2"], &["3"]),
        (&["1", "2", "3"], "versions.serve = ['2', '1']\nversions.default = '1'", "1", &["1", "2"], &["3"]),
    ];
    for (folders, manifest, default, served, unknown) in cases {
        let repository = Repository::new();
        for version in folders {
            repository.copy("doubler/1", &format!("many/{version}"));
        }
        repository.write("many/model.toml", manifest);
        let app = serve(&repository, |_| {}).await;
        let (_, model) = app.get("/v1/models/many").await;
        let listed: Vec<&Value> = model["versions"].as_array().unwrap().iter().map(|item| &item["version"]).collect();
        assert_eq!(
            (listed, &model["default_version"]),
            (served.iter().map(|v| json!(v)).collect::<Vec<_>>().iter().collect(), &json!(default))
        );
        let answered = async |version: Option<&str>| {
            let (status, answer) =
                app.post("/v1/predict", json!({"model": "many", "version": version, "input": [1]})).await;
            (status.as_u16(), answer)
        };
        assert_eq!(answered(None).await.1["model_version"], default);
        for version in served {
            let (status, answer) = answered(Some(version)).await;
            assert_eq!((status, &answer["model_version"]), (200, &json!(version)), "{answer}");
            let (status, answer) = app.get(&format!("/v1/models/many/versions/{version}")).await;
            assert_eq!((status.as_u16(), &answer["state"]), (200, &json!("ready")), "{answer}");
        }
        for version in unknown {
            let (status, answer) = answered(Some(version)).await;
            assert_eq!((status, &answer["code"]), (404, &json!("model_not_found")), "{version}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_version_does_not_keep_the_others_of_its_model_from_serving() {
    let repository = Repository::new();
    repository.copy("doubler/1", "many/1");
    repository.write("many/2/model.onnx", "This is no graph.");
    repository.write("many/model.toml", "versions.default = '1'");
    let app = serve(&repository, |_| {}).await;
    let (status, answer) = app.get("/readyz").await;
    assert_eq!((status.as_u16(), &answer["reasons"][0]["model"]), (503, &json!("many/2")));
    assert_eq!(app.predict(json!({"input": [1]})).await, json!([2.0]));
    let (status, problem) = app.post("/v1/predict", json!({"version": "2", "input": [1]})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("model_not_ready")));
    let (_, version) = app.get("/v1/models/many/versions/2").await;
    assert_eq!(version["reason"], answer["reasons"][0]["reason"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_model_is_ignored() {
    let repository = Repository::new();
    repository.stub("real");
    for name in [".git", "two words", "ümlaut", "back\\slash"] {
        repository.copy("doubler", name);
    }
    // Folders without a model, files, and folders that are no version.
    repository.write("training/train.py", "");
    repository.write("README.md", "");
    repository.write("real/.cache/model.onnx", "");
    repository.write("notes/1/notes.txt", "");
    let app = serve(&repository, |_| {}).await;
    let (_, models) = app.get("/v1/models").await;
    let names: Vec<&Value> = models["models"].as_array().unwrap().iter().map(|model| &model["name"]).collect();
    assert_eq!(names, [&json!("real")]);
    let (status, answer) = app.get("/readyz").await;
    assert_eq!((status.as_u16(), answer), (200, json!({"status": "ready", "reasons": []})));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_repository_is_not_ready_unless_nothing_is_required() {
    let app = serve(&Repository::new(), |config| config.models.required.clear()).await;
    assert_eq!(app.get("/readyz").await.1, json!({"status": "ready", "reasons": []}));
    let app = serve(&Repository::new(), |_| {}).await;
    let (status, problem) = app.get("/readyz").await;
    assert_eq!((status.as_u16(), &problem["reasons"][0]["state"]), (503, &json!("missing")), "{problem}");
    assert_eq!(app.get("/v1/models").await.1, json!({"models": []}));
    let (status, problem) = app.post("/v1/predict", json!({"input": [1]})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("malformed_request")));
    let (status, problem) = app.post("/v1/predict", json!({"model": "doubler", "input": [1]})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("model_not_found")));
}

#[test]
fn a_repository_that_cannot_be_read_is_a_clear_error() {
    let repository = Repository::new();
    let file = repository.write("file", "");
    for (path, why) in [(repository.path().join("absent"), "No such file"), (file, "Not a directory")] {
        let expected = format!("glassbox: models.repository '{}' cannot be read: {why}", path.display());
        for command in ["serve", "models", "predict"] {
            let finished = run(glassbox(&[command]).env(variable("models.repository"), &path));
            assert_eq!((finished.code, &*finished.stdout), (Some(1), ""), "{command}");
            assert!(finished.stderr.starts_with(&expected), "{command}: {}", finished.stderr);
            assert_eq!(finished.stderr.lines().count(), 1, "{command}: {}", finished.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_without_a_manifest_serves_tensors() {
    let repository = Repository::new();
    let graph = fs::read(project().join("model/doubler/1/model.onnx")).unwrap();
    repository.write("plain/1/model.onnx", graph);
    let app = serve(&repository, |_| {}).await;
    let (_, model) = app.get("/v1/models/plain").await;
    assert_eq!((&model["state"], &model["task"]), (&json!("ready"), &json!("tensor")));
    assert_eq!(app.predict(json!({"model": "plain", "input": [1, 2]})).await, json!([2.0, 4.0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_that_names_its_classes_needs_no_labels() {
    let repository = Repository::new();
    let graph = python_graph("python/named_classes_graph.py");
    for (name, labels) in [("graphs", ""), ("manifests", "labels = ['a', 'b']")] {
        repository.write(&format!("{name}/1/model.onnx"), &graph);
        repository.write(&format!("{name}/model.toml"), format!("task = 'classification'\n{labels}"));
    }
    let app = serve(&repository, |_| {}).await;
    for (model, [no, yes]) in [("graphs", ["no", "yes"]), ("manifests", ["a", "b"])] {
        let prediction = app.predict(json!({"model": model, "input": [0.25, 0.75]})).await;
        let expected = json!({"label": yes, "confidence": 0.75, "probabilities": {no: 0.25, yes: 0.75}});
        assert_eq!(prediction, expected, "{model}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stub_honours_its_task_and_answers_the_same_alone_in_a_batch_and_after_a_restart() {
    let repository = Repository::new();
    repository.stub("classifies");
    let input = "provider = 'stub'\ninputs = [{ name = 'x', datatype = 'FP32', shape = [-1, 2] }]";
    for (name, rest) in [
        ("regresses", "task = 'regression'\noutputs = [{ name = 'y', datatype = 'FP64', shape = [-1, 1] }]"),
        ("embeds", "task = 'embedding'\noutputs = [{ name = 'y', datatype = 'FP32', shape = [-1, 8] }]"),
        (
            "tensors",
            "outputs = [{ name = 'n', datatype = 'INT64', shape = [-1, 3] }, { name = 'w', datatype = 'BYTES', shape = [-1] }]",
        ),
    ] {
        repository.write(&format!("{name}/model.toml"), format!("{input}\n{rest}"));
    }
    let mut answers = Vec::new();
    for _ in 0..2 {
        let app = serve(&repository, |_| {}).await;
        let mut all = Vec::new();
        for (model, field) in
            [("classifies", "text"), ("regresses", "input"), ("embeds", "input"), ("tensors", "input")]
        {
            let items: Vec<Value> = match field {
                "text" => (0..40).map(|n| json!(format!("text {n}"))).collect(),
                _ => (0..40).map(|n| json!([n, 0.5])).collect(),
            };
            let mut alone = Vec::new();
            for item in &items {
                alone.push(app.predict(json!({"model": model, field: item})).await);
            }
            let (status, batch) =
                app.post("/v1/predict_batch", json!({"model": model, format!("{field}s"): items})).await;
            assert_eq!(status, StatusCode::OK, "{batch}");
            let batch = batch["predictions"].as_array().unwrap().iter().map(|item| item["prediction"].clone());
            assert_eq!(batch.collect::<Vec<_>>(), alone, "{model}");
            alone.iter().for_each(|prediction| assert_fits_task(model, prediction));
            let mut distinct: Vec<String> = alone.iter().map(Value::to_string).collect();
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct.len(), items.len(), "{model} answers different inputs alike");
            all.extend(alone);
        }
        answers.push(all);
        app.stopped().await.unwrap();
    }
    assert_eq!(answers[0], answers[1]);
}

fn assert_fits_task(model: &str, prediction: &Value) {
    let numbers = |value: &Value| value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect::<Vec<_>>();
    match model {
        "classifies" => {
            let (no, yes) = (&prediction["probabilities"]["no"], &prediction["probabilities"]["yes"]);
            let (no, yes) = (no.as_f64().unwrap(), yes.as_f64().unwrap());
            assert!((no + yes - 1.0).abs() < 1e-6, "{prediction}");
            assert_eq!(prediction["label"], if yes > no { "yes" } else { "no" });
            assert_eq!(prediction["confidence"], yes.max(no));
        }
        "regresses" => assert_eq!(numbers(prediction).len(), 1),
        "embeds" => {
            let length: f64 = numbers(prediction).iter().map(|n| n * n).sum();
            assert_eq!(numbers(prediction).len(), 8);
            assert!((length - 1.0).abs() < 1e-5, "{prediction}");
        }
        _ => {
            assert_eq!(prediction["n"].as_array().unwrap().len(), 3);
            assert!(prediction["n"].as_array().unwrap().iter().all(Value::is_i64), "{prediction}");
            assert!(prediction["w"].is_string(), "{prediction}");
        }
    }
}

/// The app on a repository, with every model tried.
async fn serve(repository: &Repository, change: impl FnOnce(&mut Config)) -> TestApp {
    let builder = TestAppBuilder::new(|config| {
        config.models.repository = Some(repository.path());
        config.models.default = None;
        change(config);
    });
    let app = builder.start().await;
    app.until_loaded().await;
    app
}
