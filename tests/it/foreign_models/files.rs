//! Files as people have them: any name, links, weights beside the graph, and the line that shows how to ask.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{folder, models};
use crate::support::{Repository, TestApp, glassbox, run, serve_files};

/// A graph that doubles one number.
const GRAPH: &str = "doubled_FP32.onnx";

fn made(name: &str) -> PathBuf {
    models("batching");
    folder().join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_named_after_its_file_whatever_that_is_called() {
    let folder = Repository::new();
    let graph = fs::read(made(GRAPH)).unwrap();
    let long = "x".repeat(200);
    let names = [
        ("plain.onnx", "plain"),
        ("two words (v2).onnx", "two_words__v2_"),
        ("résumé.onnx", "r_sum_"),
        ("模型.onnx", "__"),
        ("net.v1.2.onnx", "net.v1.2"),
        (".hidden.onnx", "hidden"),
        ("UPPER.ONNX", "UPPER"),
        ("no extension", "no_extension"),
        ("a,b;c.onnx", "a_b_c"),
        ("it's \"new\".onnx", "it_s__new_"),
        (&format!("{long}.onnx"), &long[..128]),
    ];
    let files = names.map(|(file, _)| folder.write(file, &graph));
    let app = TestApp::with(|config| serve_files(config, files.into())).await;
    for (file, name) in names {
        let prediction = app.predict(json!({"model": name, "input": 2.5})).await;
        assert_eq!(prediction, json!(5.0), "{file}");
    }
    assert_eq!(app.get("/readyz").await.0, 200);
}

#[test]
fn files_that_cannot_be_told_apart_or_are_none_are_refused_at_once() {
    let folder = Repository::new();
    let graph = fs::read(made(GRAPH)).unwrap();
    for path in ["a/same.onnx", "b/same.onnx", "a b.onnx", "a_b.onnx"] {
        folder.write(path, &graph);
    }
    fs::create_dir(folder.path().join("folder.onnx")).unwrap();
    symlink("loop.onnx", folder.path().join("loop.onnx")).unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["a/same.onnx", "b/same.onnx"], "two models have the name 'same'"),
        (&["a b.onnx", "a_b.onnx"], "two models have the name 'a_b'"),
        (&["folder.onnx"], "is not a file"),
        (&["loop.onnx"], "cannot be read: Too many levels of symbolic links"),
        (&["missing.onnx"], "cannot be read: No such file"),
    ];
    for (files, reason) in cases {
        let files: Vec<_> = files.iter().map(|file| folder.path().join(file).display().to_string()).collect();
        let mut args = vec!["serve", "--listen", "127.0.0.1:0"];
        args.extend(files.iter().flat_map(|file| ["--model", file]));
        let finished = run(&mut glassbox(&args));
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains(reason), "no '{reason}' in {finished:?}");
        assert!(files.iter().all(|file| finished.stderr.contains(file.as_str())), "{finished:?}");
    }
}

/// Hubs keep files under their hash, and the names that people know as links to them.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_served_under_its_own_name_with_the_weights_beside_it() {
    models("shapes");
    let cache = Repository::new();
    for (name, blob) in [("external_weights.onnx", "blobs/0a1b"), ("external_weights.onnx.data", "blobs/2c3d")] {
        cache.write(blob, fs::read(folder().join(name)).unwrap());
        fs::create_dir_all(cache.path().join("snapshot")).unwrap();
        symlink(format!("../{blob}"), cache.path().join("snapshot").join(name)).unwrap();
    }
    let link = cache.path().join("snapshot/external_weights.onnx");
    let app = TestApp::with(|config| serve_files(config, vec![link])).await;
    let prediction = app.predict(json!({"model": "external_weights", "input": [1, 0, 0, 0]})).await;
    assert_eq!((&prediction[0], prediction.as_array().unwrap().len()), (&json!(-1.0), 5000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_s_digest_and_size_cover_the_weights_beside_it() {
    models("shapes");
    let copies = [Repository::new(), Repository::new()];
    let mut told = Vec::new();
    for (index, copy) in copies.iter().enumerate() {
        let graph = copy.write("external_weights.onnx", fs::read(folder().join("external_weights.onnx")).unwrap());
        let mut weights = fs::read(folder().join("external_weights.onnx.data")).unwrap();
        weights[0] ^= u8::try_from(index).unwrap();
        copy.write("external_weights.onnx.data", weights);
        let app = TestApp::with(|config| serve_files(config, vec![graph])).await;
        let (_, model) = app.get("/v1/models/external_weights").await;
        assert!(model["size_bytes"].as_u64().is_some_and(|size| size > 80_000), "{model}");
        told.push(model["digest"].clone());
    }
    assert_ne!(told[0], told[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_with_a_default_cannot_be_given() {
    models("shapes");
    let app = TestApp::with(|config| serve_files(config, vec![folder().join("default.onnx")])).await;
    let (status, answer) = app.post("/v1/predict", json!({"input": {"x": [1, 2], "scale": [3]}})).await;
    assert_eq!((status.as_u16(), &answer["errors"][0]["code"]), (422, &json!("unknown_input")), "{answer}");
    assert_eq!(answer["errors"][0]["pointer"], "/input/scale");
}

#[tokio::test]
async fn the_suggested_call_is_answered() {
    for (group, name) in [
        ("shapes", "several"),
        ("shapes", "odd_names"),
        ("shapes", "no_inputs"),
        ("shapes", "any_rank"),
        ("batching", "embedding"),
        ("batching", "two_batches"),
        ("batching", "rnn_over_time"),
        ("datatypes", "BOOL_rank3_dynamic"),
        ("datatypes", "BYTES_rank4_fixed"),
    ] {
        let mut server = Shown::start(group, name);
        let line = server.line("Try:  ");
        let body: Value = serde_json::from_str(&last_argument(&line)).unwrap();
        let address = line.split(' ').find(|word| word.starts_with("http://")).unwrap();
        let response = reqwest::Client::new().post(address).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 200, "{line}: {}", response.text().await.unwrap());
    }
}

#[tokio::test]
async fn where_no_short_call_is_known_the_start_line_leads_to_the_inputs() {
    for (group, name) in [("shapes", "stateful"), ("shapes", "huge_product"), ("batching", "long_sounds_only")] {
        let mut server = Shown::start(group, name);
        let line = server.line("What it takes:  ");
        let address = line.split(' ').find(|word| word.starts_with("http://")).unwrap();
        let model: Value = serde_json::from_str(&reqwest::get(address).await.unwrap().text().await.unwrap()).unwrap();
        assert_eq!((&model["name"], &model["state"]), (&json!(name), &json!("ready")), "{line}");
    }
}

/// What a shell makes of the last argument of `line`, a call of curl.
fn last_argument(line: &str) -> String {
    let curl = "curl() { for last; do :; done; printf %s \"$last\"; }";
    let output = Command::new("sh").args(["-c", &format!("{curl}; {line}")]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A server that shows itself to a person.
struct Shown {
    child: std::process::Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Shown {
    fn start(group: &str, name: &str) -> Self {
        models(group);
        let file = folder().join(format!("{name}.onnx")).display().to_string();
        let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0", "--model", &file]);
        command.env("GLASSBOX__TELEMETRY__LOG_FORMAT", "pretty");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What follows after `start` on the line that suggests a call.
    fn line(&mut self, start: &str) -> String {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        let line = lines.find(|line| line.contains("  curl ")).expect("the server ended");
        line.strip_prefix(start).unwrap_or_else(|| panic!("{line}")).to_owned()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
