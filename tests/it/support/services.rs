//! Real servers as child processes of the test, on ports and in folders of their own, ended with it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{PATIENCE, free, until};

/// A `redis-server` that keeps nothing on disk.
pub struct Redis {
    pub addr: SocketAddr,
    child: Child,
    folder: TempDir,
    password: Option<String>,
}

impl Redis {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With further settings: `["--maxmemory", "4mb"]`.
    pub fn with(settings: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let [addr] = free();
        let child = spawn(addr, &folder, settings);
        let redis = Self { addr, child, folder, password: None };
        redis.until_it_answers();
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Ends it at once, and waits for that.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was, empty.
    pub fn restart(&mut self, settings: &[&str]) {
        self.kill();
        self.password = None;
        self.child = spawn(self.addr, &self.folder, settings);
        self.until_it_answers();
    }

    /// Stops its clock: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Makes it want a password of those who come from now on.
    pub fn set_password(&mut self, password: &str) {
        self.ask(&["CONFIG", "SET", "requirepass", password]);
        self.password = Some(password.to_owned());
    }

    /// What it answers to a command, as it goes over the wire. Panics on an error.
    pub fn ask(&self, command: &[&str]) -> String {
        let words: Vec<&[u8]> = command.iter().map(|word| word.as_bytes()).collect();
        let answer = self.try_ask(&words).expect("redis answers");
        assert!(!answer.starts_with('-'), "{command:?}: {answer}");
        answer
    }

    /// Writes a value that is not text.
    pub fn set_bytes(&self, key: &str, value: &[u8]) {
        let answer = self.try_ask(&[b"SET", key.as_bytes(), value]).expect("redis answers");
        assert_eq!(answer, "+OK\r\n");
    }

    /// The keys that hold answers.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let answer = self.ask(&["KEYS", &format!("{prefix}*")]);
        let words = answer.split("\r\n").filter(|word| word.starts_with(prefix) && !word.ends_with("probe"));
        words.map(str::to_owned).collect()
    }

    fn try_ask(&self, words: &[&[u8]]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut expected = 1;
        if let Some(password) = &self.password {
            stream.write_all(&encode(&[b"AUTH", password.as_bytes()]))?;
            expected += 1;
        }
        stream.write_all(&encode(words))?;
        let mut bytes = Vec::new();
        let mut buffer = [0; 64 * 1024];
        while complete(&bytes) < expected {
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(&buffer[..read]);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(if expected == 2 { text.split_once("\r\n").unwrap().1.to_owned() } else { text })
    }

    fn until_it_answers(&self) {
        until("redis answers", || {
            let pong = self.try_ask(&[b"PING"]);
            pong.is_ok_and(|pong| pong.starts_with("+PONG") || pong.starts_with("-NOAUTH"))
        });
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(addr: SocketAddr, folder: &TempDir, settings: &[&str]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", &addr.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--dir", folder.path().to_str().unwrap(), "--daemonize", "no"]).args(settings);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.unwrap_or_else(|error| {
        panic!("redis-server does not start ({error}): run 'make setup', or install redis-server")
    })
}

fn encode(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// How many whole answers `bytes` hold.
fn complete(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    let mut count = 0;
    while let Some(length) = answer_length(rest) {
        rest = &rest[length..];
        count += 1;
    }
    count
}

fn answer_length(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|window| window == b"\r\n")?;
    let number = || std::str::from_utf8(&bytes[1..line]).unwrap().parse::<i64>().unwrap();
    let head = line + 2;
    match bytes[0] {
        b'$' if number() < 0 => Some(head),
        b'$' => Some(head + number() as usize + 2).filter(|length| *length <= bytes.len()),
        b'*' => (0..number().max(0)).try_fold(head, |at, _| Some(at + answer_length(&bytes[at..])?)),
        _ => Some(head),
    }
}
