//! The real binary as a child process, ended with the test.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use serde_json::Value;

/// The binary with an environment of the test's own, in the project's folder.
pub fn glassbox(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glassbox"));
    command.args(args).current_dir(super::project()).stdin(Stdio::null());
    command.env_clear();
    for name in ["PATH", "HOME", "TMPDIR"] {
        #[expect(clippy::disallowed_methods, reason = "what a child process needs of the test's own environment")]
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// A serving child process.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    pub addr: SocketAddr,
    /// Log lines up to the one that says "ready".
    pub log: Vec<Value>,
}

impl Server {
    /// Starts `command`, which must be a `serve`, and waits until it says that it is ready.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut server = Self { child, lines, addr: ([127, 0, 0, 1], 0).into(), log: Vec::new() };
        let ready = server.until(|line| line["message"] == "ready");
        server.addr = ready["addr"].as_str().unwrap().parse().unwrap();
        server
    }

    /// Reads log lines until one of them `is` the right one.
    pub fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line =
                self.lines.recv_timeout(Duration::from_secs(60)).expect("the log ends, or nothing comes for 60 s");
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON in the log: {line}"));
            self.log.push(line.clone());
            if is(&line) {
                return line;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
