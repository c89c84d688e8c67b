//! A caller that sends its bytes when the test wants it to: half a body, nothing at all, one request after another.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use serde_json::Value;

use super::PATIENCE;

/// One connection, and a new one after an answer that asks for that. Every read panics after [`PATIENCE`].
pub struct Caller {
    stream: BufReader<TcpStream>,
    addr: SocketAddr,
    /// Set when the last answer said that its connection ends.
    pub ended: bool,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Caller {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream), addr, ended: false }
    }

    /// Sends raw bytes.
    pub fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Sends what need not be text.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Whether the server is still there to be sent to.
    pub fn try_send(&mut self, text: &str) -> bool {
        self.stream.get_mut().write_all(text.as_bytes()).is_ok()
    }

    /// The next answer, unless the server is gone.
    pub fn try_answer(&mut self) -> Option<Answer> {
        match self.stream.fill_buf() {
            Ok(bytes) if !bytes.is_empty() => Some(self.answer()),
            _ => None,
        }
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.renew();
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.answer()
    }

    pub fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.renew();
        self.send_head(path, body, "");
        self.send(&body.to_string());
        self.answer()
    }

    /// Sends everything but the last bytes of `body`, which it returns, and waits until the server reads the body.
    pub fn begin_post(&mut self, path: &str, body: &Value) -> String {
        self.send_head(path, body, "Expect: 100-continue\r\n");
        assert_eq!(self.head(), 100, "the server waits for the body");
        let mut text = body.to_string();
        let rest = text.split_off(text.len() / 2);
        self.send(&text);
        rest
    }

    fn renew(&mut self) {
        if self.ended {
            *self = Self::connect(self.addr);
        }
    }

    fn send_head(&mut self, path: &str, body: &Value, header: &str) {
        let length = body.to_string().len();
        self.send(&format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n{header}"));
        self.send(&format!("Content-Length: {length}\r\n\r\n"));
    }

    /// Reads one answer, which must be JSON.
    pub fn answer(&mut self) -> Answer {
        let (status, length) = self.head_and_length();
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        Answer { status, body: serde_json::from_slice(&body).unwrap() }
    }

    fn head(&mut self) -> u16 {
        self.head_and_length().0
    }

    fn head_and_length(&mut self) -> (u16, usize) {
        let status = self.line();
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut length = 0;
        loop {
            let line = self.line().to_ascii_lowercase();
            if line.is_empty() {
                return (status.expect("no status line"), length);
            }
            self.ended |= line == "connection: close";
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("nothing comes for 30 s");
        assert!(line.ends_with("\r\n"), "the connection was closed within an answer: {line:?}");
        line.trim_end().to_owned()
    }

    /// Says that nothing more will come.
    pub fn finish_sending(&self) {
        match self.stream.get_ref().shutdown(Shutdown::Write) {
            // The server has answered and closed already.
            Err(error) if error.kind() == std::io::ErrorKind::NotConnected => {}
            result => result.unwrap(),
        }
    }

    /// Waits until the server closes the connection; whatever it says before is returned.
    pub fn closed(&mut self) -> String {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the connection is still open: {error}"),
        }
        String::from_utf8_lossy(&rest).into_owned()
    }
}
