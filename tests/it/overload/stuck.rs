//! A run that nothing can end: those who come behind it do not wait for it.

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Answer, Caller, Server, glassbox, python, variable};

/// One operator works on so many for many seconds.
const MANY: u32 = 300_000;

fn ask(caller: &mut Caller, count: u32, within: &str) -> Answer {
    let body = json!({"input": [count]}).to_string();
    let head =
        format!("X-Request-Timeout: {within}\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
    caller.send(&format!("POST /v1/predict HTTP/1.1\r\nHost: test\r\n{head}\r\n\r\n{body}"));
    caller.answer()
}

#[test]
fn who_was_let_in_behind_a_run_that_cannot_be_ended_is_refused_before_it_ends() {
    let folder = TempDir::new().unwrap();
    python("python/hard_graphs.py", &[folder.path().to_str().unwrap()], "");
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0", "--model"]);
    command.arg(folder.path().join("heavy.onnx"));
    for (key, value) in [("runtime.threads", "1"), ("runtime.max_queue_wait", "2s"), ("cache.mode", "off")] {
        command.env(variable(key), value);
    }
    let server = Server::start(&mut command);
    let mut caller = Caller::connect(server.addr);
    assert_eq!(ask(&mut caller, 2, "30s").body["prediction"], json!([2]));
    let first = ask(&mut caller, MANY, "500ms");
    assert_eq!((first.status, &first.body["code"]), (504, &json!("deadline_exceeded")));
    // Late for less than may be waited: it is let in.
    let second = ask(&mut caller, 2, "30s");
    assert_eq!((second.status, &second.body["code"]), (503, &json!("overloaded")), "{}", second.body);
    // Which was not the end of that run.
    let third = ask(&mut caller, 2, "30s");
    assert_eq!((third.status, &third.body["code"]), (503, &json!("overloaded")), "{}", third.body);
}
