//! What cannot be served is told with its reason, and disturbs nobody.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};

use super::{folder, models};
use crate::support::{Repository, Server, glassbox, python};

#[tokio::test]
async fn broken_files_are_reported_and_the_others_served() {
    let repository = Repository::new();
    let folder = repository.path();
    let mut words: BTreeMap<String, String> =
        serde_json::from_str(&python("python/foreign_broken.py", &[folder.to_str().unwrap()], "")).unwrap();
    words.extend(what_is_no_file(&folder).map(|(name, words)| (name.to_owned(), words.to_owned())));

    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::start(command.env("GLASSBOX__MODELS__REPOSITORY", &folder));
    let url = |path: &str| format!("http://{}{path}", server.addr);
    let response = reqwest::get(url("/readyz")).await.unwrap();
    assert_eq!(response.status(), 503);
    let ready: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let told: BTreeMap<&str, &str> = ready["reasons"].as_array().unwrap().iter().map(reason).collect();
    let logged: BTreeMap<&str, &str> =
        server.log.iter().filter(|line| line["message"] == "model could not be loaded").map(log_line).collect();

    for (name, word) in &words {
        let model = format!("{name}/1");
        let reason = told.get(&*model).unwrap_or_else(|| panic!("{name} is missing in {told:?}"));
        assert!(reason.contains(word), "{name}: no '{word}' in '{reason}'");
        assert!(!reason.contains(folder.to_str().unwrap()) && !reason.contains('\n'), "{name}: {reason}");
        assert_eq!(logged.get(&*model), Some(reason), "{name} in the log");
    }
    assert_eq!(told.len(), words.len(), "{told:?}");

    let request = reqwest::Client::new().post(url("/v1/predict")).json(&json!({"model": "good", "input": [1.5]}));
    let answer: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(answer["prediction"], json!([-1.5]), "{answer}");
}

#[tokio::test]
async fn a_graph_that_declares_the_wrong_shapes_does_not_flood_the_log() {
    models("shapes");
    let file = folder().join("wrongly_declared.onnx").display().to_string();
    let mut server = Server::start(&mut glassbox(&["serve", "--listen", "127.0.0.1:0", "--model", &file]));
    for rows in 1..4 {
        let request = reqwest::Client::new().post(format!("http://{}/v1/predict", server.addr));
        let response = request.json(&json!({"input": vec![1.0; rows]})).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    server.signal("TERM");
    server.until(|line| line["message"] == "stopped");
    let loud: Vec<_> = server.log.iter().filter(|line| line["level"] != "INFO").collect();
    assert!(loud.is_empty(), "{loud:?}");
}

/// Things in the place of a graph, and the words for them.
fn what_is_no_file(folder: &Path) -> impl Iterator<Item = (&'static str, &'static str)> {
    let graph = |name: &str| {
        let version = folder.join(name).join("1");
        fs::create_dir_all(&version).unwrap();
        version.join("model.onnx")
    };
    fs::create_dir(graph("folder")).unwrap();
    symlink("model.onnx", graph("link_to_itself")).unwrap();
    symlink("nowhere.onnx", graph("link_to_nowhere")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(graph("pipe")).status().unwrap();
    assert!(pipe.success());
    let secret = graph("secret");
    fs::write(&secret, "…").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    // The superuser reads everything.
    let secret = if fs::read(&secret).is_ok() { "no ONNX graph" } else { "cannot be read" };
    let link = "'model.onnx' cannot be read";
    let (folder, pipe) = ("'model.onnx' is a directory", "'model.onnx' is not a file");
    [("folder", folder), ("link_to_itself", link), ("link_to_nowhere", link), ("pipe", pipe), ("secret", secret)]
        .into_iter()
}

fn reason(entry: &Value) -> (&str, &str) {
    (entry["model"].as_str().unwrap(), entry["reason"].as_str().unwrap())
}

fn log_line(line: &Value) -> (&str, &str) {
    assert_eq!(line["level"], "ERROR");
    (line["model"].as_str().unwrap(), line["error"].as_str().unwrap())
}
