//! ONNX Runtime's library: where it is looked for, and what is said when it is missing, old, broken or hanging.

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Finished, PATIENCE, Repository, Server, children, glassbox, onnxruntime, project, run, until};

const FILE_NAME: &str = "libonnxruntime.so";

/// No library, for a place that must not be believed.
const TEXT: &str = "This is not a library. It is longer than the header of one, so that its header is what is wrong.";

/// What each command does when it is asked for something that needs the library.
const COMMANDS: [&[&str]; 3] =
    [&["serve", "--listen", "127.0.0.1:0"], &["models"], &["predict", "--model", "doubler", "--input", "[1, 2.5]"]];

#[test]
fn a_library_that_is_no_good_is_one_clear_error_within_5_s() {
    let folder = TempDir::new().unwrap();
    let cases = bad_libraries(folder.path());
    // One command beside the others, because the library that hangs takes 4 s of each.
    std::thread::scope(|scope| {
        for args in COMMANDS {
            let cases = &cases;
            scope.spawn(move || {
                for (path, cause) in cases {
                    let finished = run(glassbox(args).env("GLASSBOX__RUNTIME__ONNXRUNTIME_PATH", path));
                    let place = format!("{} (runtime.onnxruntime_path)", path.display());
                    assert_is_the_one_error(&finished, cause, &[&place]);
                }
            });
        }
    });
}

/// Libraries that cannot be used, and what is to be said about each.
fn bad_libraries(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let real = fs::read(onnxruntime().join(FILE_NAME)).unwrap();
    let write = |name: &str, content: &[u8]| {
        fs::write(folder.join(name), content).unwrap();
        folder.join(name)
    };
    let compile = |name: &str, source: &str| compile(&folder.join(name), source);
    let empty_folder = folder.join("empty-folder");
    fs::create_dir(&empty_folder).unwrap();
    vec![
        (folder.join("missing.so"), "runtime.onnxruntime_path names no library"),
        (empty_folder, "runtime.onnxruntime_path names no library"),
        (write("text.so", TEXT.as_bytes()), "text.so: invalid ELF header"),
        (write("empty.so", b""), "empty.so: file too short"),
        (write("first-half.so", &real[..real.len() / 2]), "first-half.so crashes (signal"),
        (write("without-its-end.so", &real[..real.len() - 64 * 1024]), "without-its-end.so crashes (signal"),
        (compile("other.so", "int other(void) { return 1; }"), "other.so does not export `OrtGetApiBase`"),
        (compile("old.so", &library_of_version("1.10.0")), "but got '1.10.0'"),
        // A version that is new enough, and no interface behind it.
        (compile("liar.so", &library_of_version("1.99.0")), "does not offer the interface of ONNX Runtime"),
        (compile("null.so", "void *OrtGetApiBase(void) { return 0; }"), "does not offer the interface of ONNX Runtime"),
        (compile("aborts.so", &constructor("abort();")), "aborts.so crashes (signal"),
        (compile("exits.so", &constructor("exit(0);")), "exits.so ends the process"),
        (compile("hangs.so", &constructor("for (;;) pause();")), "hangs.so does not end"),
    ]
}

#[test]
fn places_are_tried_in_the_documented_order() {
    let machine = Machine::new();
    let places = machine.places();
    for (_, file) in &places {
        fs::write(file, TEXT).unwrap();
    }
    let mut tried = Vec::new();
    for (index, (place, file)) in places.iter().enumerate() {
        // The first two are named by somebody, so nothing before them or after them is tried.
        if index <= 2 {
            tried.clear();
        }
        tried.push(place.as_str());
        let (config, variable) = (index == 0, index <= 1);

        let finished = run(&mut machine.predict(config, variable));
        assert_is_the_one_error(&finished, &format!("{}: invalid ELF header", file.display()), &tried);

        fs::remove_file(file).unwrap();
        symlink(onnxruntime().join(FILE_NAME).canonicalize().unwrap(), file).unwrap();
        let finished = run(&mut machine.predict(config, variable));
        assert_eq!((finished.code, finished.stdout.trim()), (Some(0), "[2.0,5.0]"), "{place}: {}", finished.stderr);
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_library_that_is_nowhere_is_reported_with_every_place() {
    let machine = Machine::new();
    let places = machine.places();
    let tried: Vec<&str> = places[2..].iter().map(|(place, _)| place.as_str()).collect();
    // What the system's loader finds is not ours to arrange, but it does not go on after a file that is no library.
    fs::write(&places[5].1, TEXT).unwrap();
    assert_is_the_one_error(&run(&mut machine.predict(false, false)), "invalid ELF header", &tried);
}

#[test]
fn a_place_that_somebody_named_is_not_replaced_by_another() {
    let machine = Machine::new();
    let places = machine.places();
    for (_, file) in &places[1..] {
        symlink(onnxruntime().join(FILE_NAME).canonicalize().unwrap(), file).unwrap();
    }
    let finished = run(&mut machine.predict(true, true));
    assert_is_the_one_error(&finished, "runtime.onnxruntime_path names no library", &[&places[0].0]);
    fs::remove_file(&places[1].1).unwrap();
    let finished = run(&mut machine.predict(false, true));
    assert_is_the_one_error(&finished, "ORT_DYLIB_PATH names no library", &[&places[1].0]);
}

#[test]
fn a_folder_stands_for_the_newest_library_in_it() {
    let real = onnxruntime().join(FILE_NAME).canonicalize().unwrap();
    for (name, others) in [
        (FILE_NAME, &["libonnxruntime.so.1.99.0"][..]),
        ("libonnxruntime.so.1.31.1", &["libonnxruntime.so.1.9.0", "libonnxruntime.so.pin", "libonnxruntime.so.txt"]),
    ] {
        let folder = TempDir::new().unwrap();
        symlink(&real, folder.path().join(name)).unwrap();
        for other in others {
            fs::write(folder.path().join(other), TEXT).unwrap();
        }
        for variable in ["GLASSBOX__RUNTIME__ONNXRUNTIME_PATH", "ORT_DYLIB_PATH"] {
            let finished = run(glassbox(COMMANDS[2]).env(variable, folder.path()));
            assert_eq!(finished.stdout.trim(), "[2.0,5.0]", "{name} by {variable}: {}", finished.stderr);
        }
    }
}

#[test]
fn an_empty_setting_names_no_place() {
    let finished = run(glassbox(COMMANDS[2]).env("GLASSBOX__RUNTIME__ONNXRUNTIME_PATH", "").env("ORT_DYLIB_PATH", ""));
    assert_eq!((finished.code, finished.stdout.trim()), (Some(0), "[2.0,5.0]"), "{}", finished.stderr);
}

/// ONNX Runtime's own builds keep an id of the machine and what is to be sent in the user's folder, unless they are told
/// not to before they start.
#[test]
fn the_library_tells_its_makers_nothing() {
    for args in COMMANDS {
        let home = TempDir::new().unwrap();
        let mut command = glassbox(args);
        command.env("HOME", home.path());
        if args[0] == "serve" {
            let server = Server::start(&mut command);
            assert!(server.log.iter().all(|line| !line["message"].to_string().contains("ORT_DISABLE_TELEMETRY")));
            until("a model is served", || run(&mut healthcheck(&server)).code == Some(0));
        } else {
            assert_eq!(run(&mut command).code, Some(0));
        }
        let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{args:?} leaves {left:?}");
    }
}

fn healthcheck(server: &Server) -> Command {
    let mut command = glassbox(&["healthcheck"]);
    command.env("GLASSBOX__SERVER__LISTEN", server.addr.to_string());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn stubs_need_no_library() {
    let (stubs, both) = (Repository::new(), Repository::new());
    stubs.stub("made-up");
    both.stub("made-up");
    both.copy("doubler", "doubler");
    let command = |args: &[&str], models: PathBuf| {
        let mut command = glassbox(args);
        command.env("GLASSBOX__MODELS__REPOSITORY", models).env("ORT_DYLIB_PATH", "/nowhere");
        command
    };

    let predict = ["predict", "--model", "made-up", "--text", "hello"];
    let commands: [(&[&str], _, _); 4] = [
        (&["models"], &both, Some(69)),
        // Other models of a repository are not asked, so they need nothing.
        (&predict, &both, Some(0)),
        (&predict, &stubs, Some(0)),
        (&["models"], &stubs, Some(0)),
    ];
    for (args, repository, code) in commands {
        let finished = run(&mut command(args, repository.path()));
        assert_eq!(finished.code, code, "{args:?}: {}", finished.stderr);
    }

    let server = Server::start(&mut command(&["serve", "--listen", "127.0.0.1:0"], stubs.path()));
    let request = reqwest::Client::new().post(format!("http://{}/v1/predict", server.addr));
    let response = request.json(&json!({"text": "hello"})).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.json::<Value>().await.unwrap()["provider"], "stub");
}

#[cfg(target_os = "linux")]
#[test]
fn a_trial_that_hangs_ends_with_its_parent() {
    let folder = TempDir::new().unwrap();
    let library = compile(&folder.path().join("hangs.so"), &constructor("for (;;) pause();"));
    let mut parent = glassbox(&["models"]).env("ORT_DYLIB_PATH", &library).spawn().unwrap();
    let loads = |pid: &u32| {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        maps.contains(library.to_str().unwrap())
    };
    let mut trial = None;
    until("the trial is stuck in the library", || {
        trial = children(parent.id()).into_iter().find(loads);
        trial.is_some()
    });
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("the trial has ended", || !loads(&trial.unwrap()));
}

/// The binary installed beside an empty repository, with room for a library in every place that is searched.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["config", "variable", "bin/lib", "work/.onnxruntime", "system"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let (binary, installed) = (env!("CARGO_BIN_EXE_glassbox"), folder.path().join("bin/glassbox"));
        // A link costs nothing, but cannot lead to another disk.
        fs::hard_link(binary, &installed).or_else(|_| fs::copy(binary, &installed).map(drop)).unwrap();
        Self { folder }
    }

    /// Every place in the order of the search: as the error tells it, and the library's file there.
    fn places(&self) -> Vec<(String, PathBuf)> {
        let file = |folder: &str| self.folder.path().join(folder).join(FILE_NAME);
        let place = |folder| (file(folder).display().to_string(), file(folder));
        vec![
            (format!("{} (runtime.onnxruntime_path)", file("config").display()), file("config")),
            (format!("{} (ORT_DYLIB_PATH)", file("variable").display()), file("variable")),
            place("bin"),
            place("bin/lib"),
            (format!(".onnxruntime/{FILE_NAME}"), file("work/.onnxruntime")),
            (format!("{FILE_NAME} on the system's loader path"), file("system")),
        ]
    }

    fn predict(&self, config: bool, variable: bool) -> Command {
        let places = self.places();
        let mut command = Command::new(self.folder.path().join("bin/glassbox"));
        command.args(COMMANDS[2]).current_dir(self.folder.path().join("work")).env_clear();
        command.env("GLASSBOX__MODELS__REPOSITORY", project().join("model"));
        command.env("LD_LIBRARY_PATH", self.folder.path().join("system"));
        if config {
            command.env("GLASSBOX__RUNTIME__ONNXRUNTIME_PATH", &places[0].1);
        }
        if variable {
            command.env("ORT_DYLIB_PATH", &places[1].1);
        }
        command
    }
}

/// Exit code 69, nothing on standard output, and on standard error the cause, the places tried and what mends it.
fn assert_is_the_one_error(finished: &Finished, cause: &str, tried: &[&str]) {
    let Finished { code, stdout, stderr, elapsed } = finished;
    let said = format!("{cause}: exit code {code:?} after {elapsed:?}\n{stdout}{stderr}");
    assert_eq!((*code, &**stdout), (Some(69), ""), "{said}");
    assert!(*elapsed < PATIENCE / 4, "{said}");
    let (first, rest) = stderr.split_once('\n').unwrap();
    assert!(first.starts_with("glassbox: no usable ONNX Runtime library (1.24 or newer): "), "{said}");
    assert!(first.contains(cause), "{said}");
    let places = tried.iter().map(|place| format!("  tried {place}\n")).collect::<String>();
    let mend = "run 'make setup' in the project's folder and start there, or name a library with \
                runtime.onnxruntime_path or ORT_DYLIB_PATH\n";
    assert_eq!(rest, places + mend, "{said}");
    assert_eq!(stderr.matches("glassbox:").count(), 1, "{said}");
}

fn library_of_version(version: &str) -> String {
    format!(
        r#"
        static const void *get_api(unsigned version) {{ return 0; }}
        static const char *version(void) {{ return "{version}"; }}
        static const struct {{ const void *(*GetApi)(unsigned); const char *(*GetVersionString)(void); }} base = {{ get_api, version }};
        const void *OrtGetApiBase(void) {{ return &base; }}
        "#
    )
}

/// A library that does something as soon as it is loaded.
fn constructor(body: &str) -> String {
    format!(
        "#include <stdlib.h>\n#include <unistd.h>\n__attribute__((constructor)) static void start(void) {{ {body} }}"
    )
}

fn compile(path: &Path, source: &str) -> PathBuf {
    let mut compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-x", "c", "-o"])
        .arg(path)
        .arg("-")
        .stdin(Stdio::piped())
        .spawn()
        .expect("there is no C compiler");
    compiler.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    assert!(compiler.wait().unwrap().success());
    path.to_owned()
}
