//! The stop signal ends the process in good order, whatever ONNX Runtime is at.

use std::{path::PathBuf, process::Command, sync::mpsc, time::Duration};

use glassbox::app::App;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::support::{Caller, Server, TestAppBuilder, bundled, glassbox, python, variable};

/// Far more than anything here takes, also on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Signals after "listening" come at so many different moments.
const MOMENTS: u64 = 12;

fn hard_graphs() -> TempDir {
    let folder = TempDir::new().unwrap();
    python("python/hard_graphs.py", &[folder.path().to_str().unwrap()], "");
    folder
}

fn serve(settings: &[(&str, &str)]) -> Command {
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
    command.envs(settings.iter().map(|(key, value)| (variable(key), value)));
    command
}

/// Serves nothing but `file`.
fn serve_file(file: PathBuf, settings: &[(&str, &str)]) -> Command {
    let mut command = serve(settings);
    command.arg("--model").arg(file);
    command
}

#[test]
fn a_stop_signal_while_models_are_loaded_ends_with_exit_code_0() {
    let graphs = hard_graphs();
    let bundled = bundled().display().to_string();
    for number in 0..MOMENTS * 2 {
        let mut command = match number % 2 {
            0 => serve_file(graphs.path().join("chain.onnx"), &[]),
            _ => serve(&[("models.repository", &bundled)]),
        };
        let mut server = Server::spawn(&mut command);
        let after = Duration::from_millis(20 + 30 * (number / 2));
        std::thread::sleep(after);
        server.signal("TERM");
        let status = server.wait(LIMIT).expect("the server ends");
        assert_eq!(status.code(), Some(0), "start {number}, stopped after {after:?}: {status}");
    }
}

#[test]
fn a_stop_signal_ends_the_process_before_an_operator_that_cannot_be_ended() {
    let graphs = hard_graphs();
    let settings = [("drain.timeout", "1s")];
    let mut server = Server::start(&mut serve_file(graphs.path().join("heavy.onnx"), &settings));
    let mut caller = Caller::connect(server.addr);
    let body = json!({"input": [400_000]}).to_string();
    let head = format!("X-Request-Timeout: 300ms\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
    caller.send(&format!("POST /v1/predict HTTP/1.1\r\nHost: test\r\n{head}\r\n\r\n{body}"));
    let answer = caller.answer();
    assert_eq!((answer.status, &answer.body["code"]), (504, &json!("deadline_exceeded")));
    server.signal("TERM");
    let status = server.wait(LIMIT).expect("the server ends");
    assert_eq!(status.code(), Some(0), "{status}");
    let is_last = |line: &Value| line["message"].as_str().is_some_and(|message| message.starts_with("stopped"));
    server.until(is_last);
}

/// A run on a thread that serves would be like this one: it comes to no point at which it could be ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_task_that_holds_its_thread_does_not_keep_the_server_from_stopping() {
    let builder = TestAppBuilder::new(|config| config.drain.timeout = Duration::from_millis(100));
    let app = App::build(builder.into_config()).unwrap();
    let lifecycle = app.state().lifecycle.clone();
    let (begun, has_begun) = oneshot::channel();
    let (end, ends) = mpsc::channel::<()>();
    let (stop, stopped) = oneshot::channel::<()>();
    #[expect(clippy::disallowed_methods, reason = "the test stands outside of the app's lifecycle")]
    let done = tokio::spawn(app.run(async { drop(stopped.await) }, |_| {}));
    lifecycle.spawn(async move {
        let _ = begun.send(());
        let _ = ends.recv();
    });
    has_begun.await.unwrap();
    drop(stop);
    let stopped = tokio::time::timeout(LIMIT, done).await;
    drop(end);
    stopped.expect("the server stops").unwrap().unwrap();
}
