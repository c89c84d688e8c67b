//! What lies in the place of a file that the server reads: pipes, devices, files without measure, documents without a floor.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    Caller, Finished, KeysFile, Repository, Server, glassbox, project, run, run_with_input, variable,
};

/// Files that are none, in a folder.
struct Traps {
    folder: TempDir,
}

impl Traps {
    fn new() -> Self {
        let traps = Self { folder: TempDir::new().unwrap() };
        pipe(&traps.path("pipe"));
        symlink("/dev/zero", traps.path("device")).unwrap();
        let large = fs::File::create(traps.path("large")).unwrap();
        large.set_len(5 << 30).unwrap();
        traps
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }
}

/// Adds a model without a manifest.
fn doubler(repository: &Repository, name: &str) -> PathBuf {
    repository.write(&format!("{name}/1/model.onnx"), fs::read(project().join("model/doubler/1/model.onnx")).unwrap());
    repository.path().join(name)
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn check_config(setting: (&str, &Path)) -> Finished {
    run(glassbox(&["check-config"]).env(setting.0, setting.1))
}

#[test]
fn a_pipe_a_device_or_a_file_without_measure_is_refused_by_every_reader_of_the_start() {
    let traps = Traps::new();
    let pair = crate::transport::certificates::Pair::new();
    for (name, words) in
        [("pipe", "it is not a regular file"), ("device", "it is not a regular file"), ("large", "it is larger than ")]
    {
        let path = traps.path(name);
        let serve = |settings: [(&str, &Path); 2]| {
            let mut command = glassbox(&["serve", "--model", "model/doubler/1/model.onnx", "--listen", "127.0.0.1:0"]);
            run(command.envs(settings.map(|(key, value)| (variable(key), value))))
        };
        for (what, finished) in [
            ("configuration", run(glassbox(&["check-config", "--config"]).arg(&path))),
            ("secret", check_config((&variable("redis.url_file"), &path))),
            ("keys", check_config((&variable("auth.keys_file"), &path))),
            ("list of keys", run(glassbox(&["keys", "list", "--file"]).arg(&path))),
            ("certificate", serve([("server.tls_cert", &path), ("server.tls_key", &pair.key())])),
            ("private key", serve([("server.tls_cert", &pair.cert()), ("server.tls_key", &path)])),
        ] {
            assert_eq!(finished.code, Some(64), "{what}, {name}: {}", finished.stderr);
            assert!(finished.stderr.contains(words), "{what}, {name}: {}", finished.stderr);
        }
    }
}

#[test]
fn a_model_whose_files_are_no_files_is_told_and_the_others_are_served() {
    let (repository, traps) = (Repository::new(), Traps::new());
    let mut expected = Vec::new();
    for (file, bound) in [("model.toml", "4 MiB"), ("1/golden.json", "16 MiB"), ("1/metrics.json", "16 MiB")] {
        for trap in ["pipe", "device", "large"] {
            let name = format!("{trap}-{}", file.replace(['/', '.'], "-"));
            let place = doubler(&repository, &name).join(file);
            let _ = fs::remove_file(&place);
            symlink(traps.path(trap), &place).unwrap();
            let words = match trap {
                "large" => format!("it is larger than {bound}"),
                _ => "it is not a regular file".to_owned(),
            };
            expected.push((name, format!("{} {words}", Path::new(file).file_name().unwrap().to_str().unwrap())));
        }
    }
    let graph = doubler(&repository, "large-graph").join("1/model.onnx");
    fs::remove_file(&graph).unwrap();
    symlink(traps.path("large"), &graph).unwrap();
    expected.push(("large-graph".to_owned(), "model.onnx is larger than 2 GiB".to_owned()));
    doubler(&repository, "good");

    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::start(command.env(variable("models.repository"), repository.path()));
    let mut caller = Caller::connect(server.addr);
    assert_eq!(caller.post("/v1/predict", &json!({"model": "good", "input": [1]})).status, 200);
    for (name, words) in expected {
        let told = caller.get(&format!("/v1/models/{name}")).body;
        let reason = told["reason"].as_str().unwrap_or_else(|| panic!("{name}: {told}"));
        let plain = reason.replace(['\'', ':'], "").replace("cannot be read ", "");
        assert!(plain.contains(&words), "{name}: no '{words}' in '{reason}'");
    }
}

#[test]
fn documents_without_a_floor_are_refused_with_words() {
    let traps = Traps::new();
    let nested = format!("a = {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let tables = format!("a = {}", "{a = ".repeat(40_000));
    let dotted = format!("a{} = 1\n", ".a".repeat(100_000));
    let header = format!("[a{}]\n", ".a".repeat(100_000));
    for (name, text) in [("nested", nested), ("tables", tables), ("dotted", dotted), ("header", header)] {
        let path = traps.write(name, &text);
        for finished in [
            run(glassbox(&["check-config", "--config"]).arg(&path)),
            run(glassbox(&["keys", "list", "--file"]).arg(&path)),
            run(glassbox(&["keys", "create", "--name", "x", "--file"]).arg(&path)),
        ] {
            assert_eq!(finished.code, Some(64), "{name}: {}", finished.stderr);
            assert!(finished.stderr.contains("is not valid TOML"), "{name}: {}", finished.stderr);
        }
    }
    let repository = Repository::new();
    doubler(&repository, "good");
    for (name, file, text) in [
        ("list", "model.toml", format!("labels = {}", "[".repeat(100_000))),
        ("dotted", "model.toml", format!("a{} = 1\n", ".a".repeat(100_000))),
        ("samples", "1/golden.json", format!("{{\"samples\": {}", "[".repeat(1_000_000))),
        ("input", "1/golden.json", format!("{{\"samples\": [{{\"input\": {}", "[".repeat(1_000_000))),
        ("figures", "1/metrics.json", "[".repeat(1_000_000)),
    ] {
        doubler(&repository, name);
        repository.write(&format!("{name}/{file}"), text);
    }
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::start(command.env(variable("models.repository"), repository.path()));
    let mut caller = Caller::connect(server.addr);
    for name in ["list", "dotted", "samples", "input", "figures"] {
        let told = caller.get(&format!("/v1/models/{name}")).body;
        let reason = told["reason"].as_str().unwrap_or_else(|| panic!("{name}: {told}"));
        assert!(
            reason.contains(if name == "list" || name == "dotted" { "recurs" } else { ".json cannot be read" }),
            "{name}: {reason}"
        );
    }
    assert_eq!(caller.post("/v1/predict", &json!({"model": "good", "input": [1]})).status, 200);
}

#[test]
fn a_line_that_no_server_would_take_is_told_and_the_next_one_is_answered() {
    let mut command = glassbox(&["predict", "--model", "doubler"]);
    command.env(variable("server.body_limit"), "1KiB").env(variable("models.repository"), "model");
    let input = format!("[1]\n[{}1]\n[2]\n[{}", " ".repeat(50_000_000), " ".repeat(1_000_000));
    let finished = run_with_input(&mut command, input);
    let too_long = r#"{"error":"the line is longer than 1024 bytes"}"#;
    assert_eq!(finished.stdout, format!("[2.0]\n{too_long}\n[4.0]\n{too_long}\n"));
    assert_eq!((finished.code, &*finished.stderr), (Some(1), "glassbox: 2 lines could not be answered\n"));
}

#[test]
fn a_key_without_measure_is_refused_with_words() {
    let file = KeysFile::new();
    let key = file.create(&[]);
    let finished = file.check(&format!("{}{}", key.text, "a".repeat(50_000_000)));
    assert_eq!((finished.code, &*finished.stdout), (Some(1), ""));
    assert!(finished.stderr.contains("this is no key") && !finished.stderr.contains(key.secret()));
}
