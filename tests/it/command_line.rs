//! The commands from outside: what they print, where to, and with which exit code they end.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::{
    Caller, Finished, PATIENCE, Repository, Server, TestApp, assert_close, glassbox, project, run, run_with_input,
    until, variable,
};

#[test]
fn every_command_explains_itself_with_examples_that_work() {
    let overview = run(&mut glassbox(&["--help"])).stdout;
    let mut tried = 0;
    for command in [
        "serve",
        "worker",
        "queue",
        "predict",
        "models",
        "check-config",
        "healthcheck",
        "history",
        "migrate",
        "openapi",
    ] {
        assert!(overview.contains(&format!("\n  {command} ")), "{command} is not in the overview");
        let help = run(&mut glassbox(&[command, "--help"]));
        assert_eq!((help.code, &*help.stderr), (Some(0), ""), "{command}");
        let (_, examples) = help.stdout.split_once("\nExample").expect("there is an example");
        let examples: Vec<&str> = examples.lines().map(str::trim).filter(|line| line.starts_with("glassbox")).collect();
        assert!(examples.iter().any(|example| example.starts_with(&format!("glassbox {command}"))), "{command}");
        // Those that need no server, no database and no file of the reader's own.
        let needs = |example: &&&str| {
            !["serve", "worker", "queue", "healthcheck", "history", "migrate", "<", ">"]
                .iter()
                .any(|word| example.contains(word))
        };
        for example in examples.iter().filter(needs) {
            let line = example.replacen("glassbox", env!("CARGO_BIN_EXE_glassbox"), 1);
            let finished = run(Command::new("sh").args(["-c", &line]).current_dir(project()));
            assert_eq!((finished.code, &*finished.stderr), (Some(0), ""), "{example}");
            tried += 1;
        }
    }
    assert!(tried >= 4, "only {tried} examples were tried");
    let version = run(&mut glassbox(&["--version"]));
    assert_eq!((version.code, version.stdout.trim()), (Some(0), concat!("glassbox ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn misuse_ends_with_2_and_a_word_about_usage() {
    let cases: [&[&str]; 11] = [
        &[],
        &["dance"],
        &["--loudly", "serve"],
        &["serve", "--loudly"],
        &["serve", "--listen"],
        &["models", "toxicity"],
        &["predict", "--text", "a", "--input", "1"],
        &["predict", "you are awful"],
        &["healthcheck", "--timeout", "soon"],
        &["check-config", "--config"],
        &["probe-library"],
    ];
    for args in cases {
        let finished = run(&mut glassbox(args));
        assert_eq!((finished.code, &*finished.stdout), (Some(2), ""), "{args:?}");
        assert!(
            finished.stderr.contains("Usage") || finished.stderr.contains("--help"),
            "{args:?}: {}",
            finished.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_lists_what_is_bundled_with_the_digest_of_its_file() {
    let listed = run(&mut glassbox(&["models"]));
    assert_eq!((listed.code, &*listed.stderr), (Some(0), ""), "{}", listed.stdout);
    let app = TestApp::start().await;
    let mut digests = 0;
    for folder in fs::read_dir(project().join("model")).unwrap().map(|entry| entry.unwrap().path()) {
        if !folder.join("model.toml").exists() {
            continue;
        }
        let name = folder.file_name().unwrap().to_str().unwrap();
        let row = listed.stdout.lines().find(|line| line.contains(&format!(" {name} "))).expect(name);
        if fs::read_to_string(folder.join("model.toml")).unwrap().contains("[source]") {
            assert!(row.contains("not_built") || row.contains("ready"), "{row}");
            continue;
        }
        assert!(row.contains("ready"), "{row}");
        // A graph with further files, such as a tokenizer, has a digest over all of them.
        let files = fs::read_dir(folder.join("1")).unwrap().filter(|file| {
            let name = file.as_ref().unwrap().file_name();
            name != "golden.json" && name != "metrics.json"
        });
        if files.count() == 1 {
            let bytes = fs::read(folder.join("1/model.onnx")).unwrap();
            let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(row.contains(&digest[..12]), "{digest} is not in {row}");
            let (_, model) = app.get(&format!("/v1/models/{name}")).await;
            assert_eq!(model["digest"], format!("sha256:{digest}"), "{name}");
            digests += 1;
        }
    }
    assert!(digests >= 4, "only {digests} digests were compared");
}

#[test]
fn models_ends_with_1_when_one_is_broken_and_says_why() {
    let repository = Repository::new();
    repository.stub("good");
    repository.write("bad/model.toml", "provider = 'stub'");
    repository.write("worse/1/model.onnx", "This is no graph.");
    let finished = run(glassbox(&["models"]).env(variable("models.repository"), repository.path()));
    assert_eq!((finished.code, &*finished.stderr), (Some(1), ""));
    for (start, part) in [
        ("│ good ", "ready"),
        ("│ bad ", "failed"),
        ("│ worse ", "failed"),
        ("bad: model.toml: ", "[[inputs]]"),
        ("worse/1: ", "Protobuf"),
    ] {
        let found = finished.stdout.lines().any(|line| line.starts_with(start) && line.contains(part));
        assert!(found, "no line starts with {start:?} and holds {part:?}:\n{}", finished.stdout);
    }
}

#[test]
fn predict_answers_one_input() {
    let doubler = "model/doubler/1/model.onnx";
    let cases: [(&[&str], &str); 7] = [
        (&["--model", "doubler", "--input", "[1, 2.5]"], "[2.0,5.0]"),
        (&["--model", "doubler", "--input", "[[1], [2]]"], "[[2.0],[4.0]]"),
        (&["--model", "doubler", "--version", "1", "--input", "{\"x\": [3]}"], "[6.0]"),
        (&["--model", doubler, "--input", "[4]"], "[8.0]"),
        (&["--model", "./model/doubler/1/model.onnx", "--input", "[5]"], "[10.0]"),
        (&["--model", "doubler", "--input", "[]"], "[]"),
        (&["--model", "doubler", "--input=[-1]"], "[-2.0]"),
    ];
    for (args, expected) in cases {
        let finished = run(glassbox(&["predict"]).args(args));
        assert_eq!((finished.code, finished.stdout.trim_end(), &*finished.stderr), (Some(0), expected, ""), "{args:?}");
    }
    for args in [&["--model", "toxicity"][..], &["--config", "config/development.toml"]] {
        let finished = run(glassbox(&["predict", "--text", "you are awful"]).args(args));
        let answer: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}"));
        assert_eq!((&answer["label"], finished.stdout.lines().count()), (&json!("toxic"), 1));
    }
}

#[test]
fn predict_ends_with_1_and_one_line_when_it_cannot_answer() {
    let cases: [(&[&str], &str); 9] = [
        (&["--model", "absent", "--input", "1"], "no model 'absent' is served here"),
        (&["--model", "doubler", "--version", "7", "--input", "[1]"], "no model 'doubler' with version '7'"),
        (&["--model", "doubler", "--input", "one"], "the input is not valid JSON"),
        (&["--model", "doubler", "--input", "[\"one\"]"], ""),
        (&["--model", "doubler", "--text", "one"], "takes no text"),
        (&["--model", "toxicity", "--text", ""], "empty"),
        (&["--text", "which model?"], "name a model"),
        (&["--model", "absent.onnx", "--input", "1"], "'absent.onnx' cannot be read: No such file"),
        (&["--model", "config/default.toml", "--input", "1"], "model"),
    ];
    for (args, expected) in cases {
        let Finished { code, stdout, stderr, .. } = run(glassbox(&["predict"]).args(args));
        assert_eq!((code, &*stdout), (Some(1), ""), "{args:?}: {stderr}");
        assert!(stderr.starts_with("glassbox: ") && stderr.contains(expected), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    }
}

#[test]
fn predict_answers_lines_in_their_order() {
    let lines: String = (0..2000).map(|n| format!("[{n}, {}]\n", n % 7)).collect();
    let expected: String = (0..2000).map(|n| format!("[{}.0,{}.0]\n", n * 2, n % 7 * 2)).collect();
    let finished = run_with_input(&mut glassbox(&["predict", "--model", "doubler"]), lines);
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
    assert!(finished.stdout == expected, "the answers differ or are in another order");

    let samples: Value =
        serde_json::from_slice(&fs::read(project().join("model/toxicity/1/golden.json")).unwrap()).unwrap();
    let samples = samples["samples"].as_array().unwrap().iter();
    let samples: Vec<_> = samples.filter(|sample| !sample["text"].as_str().unwrap().contains('\n')).collect();
    let lines: Vec<&str> = samples.iter().map(|sample| sample["text"].as_str().unwrap()).collect();
    // Line ends of either kind, and none after the last line.
    for end in ["\n", "\r\n"] {
        let finished = run_with_input(&mut glassbox(&["predict", "--model", "toxicity"]), lines.join(end));
        assert_eq!(finished.stdout.lines().count(), samples.len(), "{}", finished.stderr);
        for (line, sample) in finished.stdout.lines().zip(&samples) {
            assert_close(&serde_json::from_str(line).unwrap(), &sample["prediction"], line);
        }
    }

    let finished = run(&mut glassbox(&["predict", "--model", "doubler"]));
    assert_eq!((finished.code, &*finished.stdout, &*finished.stderr), (Some(0), "", ""), "no lines, no answers");
}

#[test]
fn predict_answers_bad_lines_in_their_place() {
    let cases: [(&str, &[u8], &[&str]); 2] = [
        ("doubler", b"[1]\nnonsense\n[\"a\"]\n\n\xff\n[2]\n", &["[2.0]", "error", "error", "error", "error", "[4.0]"]),
        ("toxicity", b"hello\n\nna\xefve\nworld", &["{\"label\"", "error", "error", "{\"label\""]),
    ];
    for (model, input, expected) in cases {
        let Finished { code, stdout, stderr, .. } =
            run_with_input(&mut glassbox(&["predict", "--model", model]), input);
        assert_eq!(stdout.lines().count(), expected.len(), "{stdout}{stderr}");
        for (line, expected) in stdout.lines().zip(expected) {
            let answer: Value = serde_json::from_str(line).unwrap();
            match *expected {
                "error" => assert!(answer["error"].is_string() && answer.as_object().unwrap().len() == 1, "{line}"),
                start => assert!(line.starts_with(start), "{line} is not {start}"),
            }
        }
        let bad = expected.iter().filter(|word| **word == "error").count();
        assert_eq!((code, stderr), (Some(1), format!("glassbox: {bad} lines could not be answered\n")));
    }
}

#[test]
fn a_reader_who_leaves_early_is_no_failure_and_a_full_disk_is_one() {
    for args in [&["models"][..], &["check-config"], &["predict", "--model", "doubler", "--input", "[1]"]] {
        let mut child = glassbox(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{args:?}");

        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = glassbox(args).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(stderr.starts_with("glassbox: standard output cannot be written: No space left"), "{args:?}: {stderr}");
    }
    // Input without an end: nobody would notice that the work goes on.
    let mut endless = Command::new("yes").arg("[1]").stdout(Stdio::piped()).spawn().unwrap();
    let mut command = glassbox(&["predict", "--model", "doubler"]);
    let mut child = command.stdin(endless.stdout.take().unwrap()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "[2.0]\n");
    until("predict has ended", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    endless.kill().unwrap();
    endless.wait().unwrap();
}

#[test]
fn check_config_prints_every_key_in_a_form_that_can_be_read_again() {
    let printed = check_config(&[], &[]).stdout;
    assert_eq!(keys(&printed), keys(glassbox::config::DEFAULT_TOML));
    for settings in [
        &[][..],
        &[("server.body_limit", "1000001"), ("server.request_timeout", "1m 1s 7ms"), ("models.default", "toxicity")],
        &[
            ("models.required", "a, b"),
            ("models.files", "x.onnx"),
            ("models.repository", ""),
            ("server.body_limit", "3MB"),
        ],
    ] {
        let first = check_config(&[], settings);
        assert_eq!((first.code, &*first.stderr), (Some(0), ""));
        let second = check_config(&[&first.stdout], &[]);
        assert_eq!((second.code, &*second.stderr), (Some(0), ""));
        assert_eq!(first.stdout, second.stdout);
    }
}

#[test]
fn files_overlay_the_defaults_and_variables_overlay_the_files() {
    let files = [
        "[server]\nbody_limit = \"1MiB\"\nmax_connections = 7",
        "[server]\nbody_limit = \"2MiB\"\nheader_timeout = \"7s\"",
    ];
    let settings = [("server.header_timeout", "8s"), ("models.required", "a, b,,c"), ("auth.mode", "off")];
    let finished = check_config(&files, &settings);
    let printed: toml::Table = finished.stdout.parse().unwrap();
    let text = |value: &toml::Value| value.to_string();
    for (key, expected) in [
        ("server.max_connections", "7"),
        ("server.body_limit", "\"2MiB\""),
        ("server.header_timeout", "\"8s\""),
        ("server.body_timeout", "\"10s\""),
        ("models.required", "[\"a\", \"b\", \"c\"]"),
        ("auth.mode", "\"off\""),
    ] {
        let (section, key) = key.split_once('.').unwrap();
        assert_eq!(text(&printed[section][key]), expected, "{section}.{key}");
    }
}

#[test]
fn all_problems_are_reported_together_each_with_its_key_and_origin() {
    let file =
        "[server]\nlisten = \"here\"\nbody_timeout = \"0s\"\ncolour = 1\n[runtime]\ndelay = \"1s\"\n[colours]\nred = 1";
    let other = "this is no TOML";
    let settings =
        [("runtime.threads", "many"), ("runtime.queue_capacity", "0"), ("drain.patience", "1s"), ("server", "x")];
    let finished = check_config(&[file, other], &settings);
    assert_eq!((finished.code, &*finished.stdout), (Some(64), ""));
    let mut lines = finished.stderr.lines();
    assert_eq!(lines.next(), Some("glassbox: the configuration has 10 problems"));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 10, "{}", finished.stderr);
    for (key, message, origin) in [
        ("server.listen", "expected an address and a port", "0.toml"),
        ("server.body_timeout", "must be from 1ms to 24h", "0.toml"),
        ("server.colour", "is not a known key", "0.toml"),
        ("runtime.delay", "is not a known key; did you mean drain.delay", "0.toml"),
        ("colours.red", "is not a known key", "0.toml"),
        ("1.toml", "is not valid TOML at line 1, column 6", ""),
        ("runtime.threads", "expected an integer", "GLASSBOX__RUNTIME__THREADS"),
        ("runtime.queue_capacity", "must be from 1 to", "GLASSBOX__RUNTIME__QUEUE_CAPACITY"),
        ("drain.patience", "is not a known key", "GLASSBOX__DRAIN__PATIENCE"),
        ("server", "is not a known key", "GLASSBOX__SERVER"),
    ] {
        let found = lines.iter().any(|line| line.contains(&format!("{key}: {message}")) && line.contains(origin));
        assert!(found, "{key}: {message} ({origin}) is not said:\n{}", finished.stderr);
    }
    // Every command that reads the configuration says the same.
    for command in ["serve", "models", "predict", "healthcheck"] {
        let finished = run(glassbox(&[command]).env(variable("runtime.threads"), "many").env(variable("colour"), "1"));
        assert_eq!((finished.code, finished.stderr.lines().count()), (Some(64), 3), "{command}: {}", finished.stderr);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_of_the_configuration() {
    let finished = run(&mut glassbox(&["check-config", "--config", "absent.toml"]));
    assert_eq!(finished.code, Some(64));
    assert!(finished.stderr.contains("absent.toml: cannot be read: No such file"), "{}", finished.stderr);
}

/// A value may be a secret, whatever key it was meant for.
#[test]
fn no_message_holds_the_value_of_a_bad_setting() {
    const SECRET: &str = "hunter2=hunter2";
    // Any text will do for these.
    let texts = [
        "auth.keys_file",
        "history.spool_path",
        "history.sqlite_path",
        "models.repository",
        "models.files",
        "models.default",
        "models.required",
        "redis.prefix",
        "runtime.onnxruntime_path",
    ];
    for key in keys(glassbox::config::DEFAULT_TOML) {
        let (section, last) = key.split_once('.').unwrap();
        let file = |value: &str| check_config(&[&format!("[{section}]\n{last} = {value}")], &[]);
        let text = format!("\"{SECRET}\"");
        for finished in [check_config(&[], &[(&key, SECRET)]), file(&text), file(&format!("[{text}]"))] {
            if finished.code == Some(0) {
                assert!(texts.contains(&&*key), "{key} takes anything");
                continue;
            }
            assert_eq!(finished.code, Some(64), "{key}: {}", finished.stderr);
            // Of a certificate and its key, the other one is missing.
            let other = ["server.tls_cert", "server.tls_key"].contains(&&*key).then_some("server.tls_");
            let named = other.map_or_else(|| format!("\n  {key}: "), |other| format!("\n  {other}"));
            assert!(finished.stderr.contains(&named), "{key}: {}", finished.stderr);
            assert!(!finished.stderr.contains("hunter2"), "{key}: {}", finished.stderr);
        }
    }
    for text in [
        "a = \"hunter2",
        "a = hunter2",
        "hunter2",
        "a = 1 hunter2",
        "[\"hunter2",
        "a = \"\"\"\nhunter2",
        "a = 2hunter2",
    ] {
        let finished = check_config(&[text], &[]);
        assert_eq!(finished.code, Some(64));
        assert!(finished.stderr.contains("is not valid TOML at line"), "{text}: {}", finished.stderr);
        assert!(!finished.stderr.contains("hunter2"), "{text}: {}", finished.stderr);
    }
    let not_unicode = OsStr::from_bytes(b"hunter2\xff");
    let mut command = glassbox(&["check-config"]);
    // The broken one must not hide the others.
    let finished = run(command.env(variable("server.listen"), not_unicode).env(variable("auth.mode"), "sometimes"));
    assert_eq!(finished.code, Some(64));
    for expected in ["GLASSBOX__SERVER__LISTEN: is not valid UTF-8", "auth.mode: expected \"required\" or \"off\""] {
        assert!(finished.stderr.contains(expected), "{}", finished.stderr);
    }
    assert!(!finished.stderr.contains("hunter2"), "{}", finished.stderr);
    // What belongs to others is none of our business.
    let finished = run(glassbox(&["check-config"]).env("OTHERS", not_unicode).env(not_unicode, "1"));
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
}

#[test]
fn a_secret_is_taken_out_of_the_file_that_a_variable_names() {
    let folder = TempDir::new().unwrap();
    let (secret, long) = (folder.path().join("url"), folder.path().join("long"));
    fs::write(&secret, "redis://:hunter2@cache.test:6380/2\n").unwrap();
    fs::write(&long, "x".repeat(65 * 1024)).unwrap();
    let named = format!("{}_FILE", variable("redis.url"));

    let finished = run(glassbox(&["check-config"]).env(&named, &secret));
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
    assert!(finished.stdout.contains("@cache.test:6380/2\"\n"), "{}", finished.stdout);
    assert!(!finished.stdout.contains("hunter2"), "{}", finished.stdout);
    // auth.keys_file is a setting of its own.
    let finished = run(glassbox(&["check-config"]).env(variable("auth.keys_file"), &secret).env(&named, ""));
    assert!(finished.stderr.contains("keys"), "{}", finished.stderr);

    let absent = folder.path().join("absent");
    for (path, value, expected) in [
        (&absent, None, "redis.url: the file that it names cannot be used: No such file"),
        (&long, None, "redis.url: the file that it names cannot be used: it is larger than 64 KiB"),
        (&secret, Some("redis://127.0.0.1"), "redis.url: is set by GLASSBOX__REDIS__URL too"),
    ] {
        let mut command = glassbox(&["check-config"]);
        let finished = run(command.env(&named, path).envs(value.map(|value| (variable("redis.url"), value))));
        assert_eq!(finished.code, Some(64), "{}", finished.stdout);
        assert!(finished.stderr.contains(expected), "{}", finished.stderr);
        assert!(finished.stderr.contains(&format!("({named})")), "{}", finished.stderr);
        assert!(!finished.stderr.contains("hunter2"), "{}", finished.stderr);
    }
    fs::write(&secret, "postgres://:hunter2@cache.test").unwrap();
    let finished = run(glassbox(&["check-config"]).env(&named, &secret));
    assert_eq!(finished.code, Some(64));
    assert!(finished.stderr.contains(&named) && !finished.stderr.contains("hunter2"), "{}", finished.stderr);
}

#[test]
fn the_shipped_configurations_are_valid() {
    let mut count = 0;
    for file in fs::read_dir(project().join("config")).unwrap().map(|entry| entry.unwrap().path()) {
        let finished = run(glassbox(&["check-config", "--config"]).arg(&file));
        assert_eq!((finished.code, &*finished.stderr), (Some(0), ""), "{}", file.display());
        count += 1;
    }
    assert!(count >= 3, "only {count} files were found");
}

#[test]
fn listening_beyond_loopback_must_be_said_aloud() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "[::ffff:0.0.0.0]:0"] {
        let finished = run(&mut glassbox(&["serve", "--listen", listen]));
        assert_eq!((finished.code, &*finished.stdout), (Some(64), ""), "{listen}");
        for part in ["server.listen: is not a loopback address", "auth.mode = \"off\"", "(--listen)"] {
            assert!(finished.stderr.contains(part), "{listen}: {}", finished.stderr);
        }
        let finished = check_config(&[], &[("server.listen", listen), ("auth.mode", "off")]);
        assert_eq!(finished.code, Some(0), "{listen}: {}", finished.stderr);
    }
    for listen in ["127.0.0.1:0", "127.1.2.3:0", "[::1]:0"] {
        assert_eq!(check_config(&[], &[("server.listen", listen)]).code, Some(0), "{listen}");
    }
    let mut command = glassbox(&["serve", "--listen", "0.0.0.0:0", "--model", "model/doubler/1/model.onnx"]);
    let server = Server::start(command.env(variable("auth.mode"), "off"));
    assert!(server.addr.ip().is_unspecified());
    assert_eq!(Caller::connect(([127, 0, 0, 1], server.addr.port()).into()).get("/healthz").status, 200);
}

#[test]
fn serve_takes_files_instead_of_the_repository() {
    let folder = TempDir::new().unwrap();
    let graph = project().join("model/doubler/1/model.onnx");
    let copies = ["first.onnx", "my second one.onnx"].map(|name| folder.path().join(name));
    for copy in &copies {
        fs::copy(&graph, copy).unwrap();
    }
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
    for copy in &copies {
        command.arg("--model").arg(copy);
    }
    // Flags win over variables.
    command.env(variable("server.listen"), "127.0.0.1:1").env(variable("models.repository"), "/absent");
    let server = Server::start(&mut command);
    let mut caller = Caller::connect(server.addr);
    let models = caller.get("/v1/models").body;
    let names: Vec<&Value> = models["models"].as_array().unwrap().iter().map(|model| &model["name"]).collect();
    assert_eq!(names, ["first", "my_second_one"]);
    for name in names {
        let answer = caller.post("/v1/predict", &json!({"model": name, "input": [3]}));
        assert_eq!(answer.body["prediction"], json!([6.0]));
    }
}

#[test]
fn the_start_line_for_eyes_tells_an_address_and_a_request_that_works() {
    for name in ["doubler", "toxicity", "multi_io"] {
        let model = &format!("model/{name}/1/model.onnx");
        let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0", "--model", model]);
        command.env(variable("telemetry.log_format"), "pretty").stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = Vec::new();
        for line in lines {
            said.push(line.clone());
            if line.starts_with("Try:") {
                break;
            }
        }
        let (start, attempt) = (&said[said.len() - 2], &said[said.len() - 1]);
        let addr = start.split("http://").nth(1).and_then(|rest| rest.split(',').next()).expect(start);
        assert!(start.starts_with("Glassbox ") && start.contains(&format!(" serves {name} on ")), "{start}");
        assert_ne!(addr.rsplit(':').next(), Some("0"));
        assert!(attempt.contains(&format!("http://{addr}/v1/predict")), "{attempt}");
        let body: Value = serde_json::from_str(attempt.split('\'').nth(3).unwrap()).unwrap();
        let answer = Caller::connect(addr.parse().unwrap()).post("/v1/predict", &body);
        assert_eq!(answer.status, 200, "{attempt} is answered with {answer:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn healthcheck_tells_live_and_ready_apart() {
    let repository = Repository::new();
    repository.write("bad/model.toml", "provider = 'stub'");
    let mut serve = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
    let not_ready = Server::start(serve.env(variable("models.repository"), repository.path()));
    let ready =
        Server::start(&mut glassbox(&["serve", "--listen", "127.0.0.1:0", "--model", "model/doubler/1/model.onnx"]));
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    for (addr, args, code, expected) in [
        (ready.addr, &[][..], 0, ""),
        (ready.addr, &["--live"], 0, ""),
        (not_ready.addr, &[], 1, "/readyz answers 503"),
        (not_ready.addr, &["--live"], 0, ""),
        (unused, &[], 1, "cannot be reached: Connection refused"),
        (unused, &["--live"], 1, "cannot be reached: Connection refused"),
    ] {
        let mut command = glassbox(&["healthcheck"]);
        let finished = run(command.args(args).env(variable("server.listen"), addr.to_string()));
        assert_eq!((finished.code, &*finished.stdout), (Some(code), ""), "{args:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(expected), "{}", finished.stderr);
        assert_eq!(finished.stderr.is_empty(), code == 0, "{}", finished.stderr);
    }
}

#[test]
fn healthcheck_waits_no_longer_than_its_timeout() {
    // Accepts by the system's grace, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = glassbox(&["healthcheck", "--timeout", "300ms"]);
    let started = Instant::now();
    let finished = run(command.env(variable("server.listen"), silent.local_addr().unwrap().to_string()));
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.contains("no answer from http://127.0.0.1") && finished.stderr.contains("300ms"));
    assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < PATIENCE / 4);
}

#[test]
fn healthcheck_asks_a_server_that_listens_everywhere_on_loopback() {
    let mut command = glassbox(&["serve", "--listen", "0.0.0.0:0", "--model", "model/doubler/1/model.onnx"]);
    let server = Server::start(command.env(variable("auth.mode"), "off"));
    let mut command = glassbox(&["healthcheck"]);
    command.env(variable("server.listen"), server.addr.to_string()).env(variable("auth.mode"), "off");
    let finished = run(&mut command);
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
}

/// `check-config` over files of these contents, named 0.toml, 1.toml, …, and with these variables.
fn check_config(files: &[&str], settings: &[(&str, &str)]) -> Finished {
    let folder = TempDir::new().unwrap();
    let mut command = glassbox(&["check-config"]);
    // The files are to be read, with nothing over them.
    command.env_remove(variable("server.hosts")).env_remove(variable("history.mode"));
    for (index, content) in files.iter().enumerate() {
        let path: PathBuf = folder.path().join(format!("{index}.toml"));
        fs::write(&path, content).unwrap();
        command.arg("--config").arg(path);
    }
    command.envs(settings.iter().map(|(key, value)| (variable(key), value)));
    run(&mut command)
}

/// The dotted keys of a configuration.
fn keys(text: &str) -> Vec<String> {
    let sections: toml::Table = text.parse().unwrap();
    let mut keys: Vec<String> = sections
        .iter()
        .flat_map(|(section, keys)| keys.as_table().unwrap().keys().map(move |key| format!("{section}.{key}")))
        .collect();
    keys.sort();
    keys
}
