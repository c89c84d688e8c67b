//! The real binary as a child process, ended with the test.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Longer than anything takes that a test waits for, in a debug build on a machine with other work: only a test that fails
/// waits so long.
pub const PATIENCE: Duration = Duration::from_secs(120);

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
    // As callers of these tests name the server.
    command.env(variable("server.hosts"), "test");
    // Each test that wants a history has one of its own.
    command.env(variable("history.mode"), "off");
    command
}

/// The environment variable that sets a key of the configuration.
pub fn variable(key: &str) -> String {
    format!("GLASSBOX__{}", key.to_uppercase().replace('.', "__"))
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Finished {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Finished {
    run_with_input(command, b"")
}

/// Runs a command to its end with `input` as its standard input.
pub fn run_with_input(command: &mut Command, input: impl AsRef<[u8]>) -> Finished {
    let started = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.as_ref().to_owned());
    // A command may end without reading its input.
    std::thread::spawn(move || drop(stdin.write_all(&input)));
    let stdout = read_to_end(child.stdout.take().unwrap());
    let stderr = read_to_end(child.stderr.take().unwrap());
    let Some(status) = ended(&mut child, PATIENCE) else {
        let _ = child.kill();
        panic!("{command:?} does not end within {PATIENCE:?}");
    };
    let elapsed = started.elapsed();
    Finished { code: status.code(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap(), elapsed }
}

fn read_to_end(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for the end, but no longer than `limit`.
fn ended(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// The limits of a server that a test starts and says nothing else of.
const GENEROUS: [(&str, &str); 4] = [
    ("server.request_timeout", "120s"),
    ("server.header_timeout", "60s"),
    ("server.body_timeout", "60s"),
    ("runtime.max_queue_wait", "60s"),
];

/// A serving child process.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    pub addr: SocketAddr,
    /// The log lines that were read so far.
    pub log: Vec<Value>,
}

impl Server {
    /// Starts `command`, which must be a `serve`, and waits until it says that it is ready.
    pub fn start(command: &mut Command) -> Self {
        let mut server = Self::spawn(command);
        server.until(|line| line["message"] == "ready");
        server
    }

    /// Starts `command`, which must be a `serve`, and waits until it listens. Its models may still be loading.
    ///
    /// Limits that the test says nothing of are too long to be met on a busy machine.
    pub fn spawn(command: &mut Command) -> Self {
        for (key, value) in GENEROUS {
            if !command.get_envs().any(|(name, _)| name == &*variable(key)) {
                command.env(variable(key), value);
            }
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut server = Self { child, lines, addr: ([127, 0, 0, 1], 0).into(), log: Vec::new() };
        let listening = server.until(|line| line["message"] == "listening");
        server.addr = listening["addr"].as_str().unwrap().parse().unwrap();
        server
    }

    /// Reads log lines until one of them `is` the right one.
    pub fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("the log ends, or nothing comes for {PATIENCE:?}: {error}"));
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON in the log: {line}"));
            self.log.push(line.clone());
            if is(&line) {
                return line;
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that it has.
    #[cfg(target_os = "linux")]
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end, and returns how it came.
    pub fn ended(&mut self) -> ExitStatus {
        self.wait(PATIENCE).unwrap_or_else(|| panic!("the process does not end within {PATIENCE:?}"))
    }

    /// Waits for the end, for a time that the test is about.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        ended(&mut self.child, limit)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes that `pid` has started and that have not been waited for: zombies count.
#[cfg(target_os = "linux")]
pub fn children(pid: u32) -> Vec<u32> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let parent = |pid: &u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold spaces and parentheses of its own.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    processes.filter_map(|name| name.parse().ok()).filter(|child| parent(child) == Some(pid)).collect()
}

/// Waits until `condition` holds, looking again and again.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Like [`eventually`] where nothing is awaited.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything that a test waits for comes, or the test fails.
pub async fn patiently<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("nothing comes for {PATIENCE:?}"))
}
