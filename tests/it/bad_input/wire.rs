//! HTTP by hand, for what no client would send.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::answer::{Answer, patiently};
use crate::support::TestApp;

/// One connection.
pub struct Wire {
    pub stream: TcpStream,
    /// Read, and not yet part of an answer.
    unread: Vec<u8>,
}

impl Wire {
    pub async fn open(app: &TestApp) -> Self {
        Self { stream: patiently(TcpStream::connect(app.addr)).await.unwrap(), unread: Vec::new() }
    }

    /// A connection that takes in little without being read.
    pub async fn open_narrow(app: &TestApp) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        Self { stream: patiently(socket.connect(app.addr)).await.unwrap(), unread: Vec::new() }
    }

    /// Sends bytes; whether the server still wanted them.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        patiently(self.stream.write_all(bytes.as_ref())).await.is_ok()
    }

    /// Says that nothing more is going to come, and goes on listening.
    pub async fn hush(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The next answer; `None` when the connection ends before one begins.
    pub async fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            if !self.read().await {
                assert!(self.unread.is_empty(), "half an answer: {}", String::from_utf8_lossy(&self.unread));
                return None;
            }
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let headers = headers(&head);
        let length = length(&headers);
        while self.unread.len() < length {
            assert!(self.read().await, "the answer's body breaks off");
        }
        Some(Answer { status, headers, body: self.unread.drain(..length).collect() })
    }

    /// Waits until the server closes the connection; panics if it says anything before that.
    pub async fn ends(&mut self) {
        if let Some(answer) = self.answer().await {
            panic!("the connection should end, but there comes {}: {}", answer.status, answer.text());
        }
    }

    /// Reads to the end; whether it comes before the end of the answer.
    pub async fn breaks_off(&mut self) -> bool {
        while self.read().await {}
        let text = String::from_utf8_lossy(&self.unread);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        body.len() < length(&headers(head))
    }

    async fn read(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        // A reset is an end as well: the server closes while bytes of ours are still on their way.
        let read = patiently(self.stream.read(&mut buffer)).await.unwrap_or(0);
        self.unread.extend_from_slice(&buffer[..read]);
        read > 0
    }
}

fn headers(head: &str) -> HeaderMap {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())).collect()
}

fn length(headers: &HeaderMap) -> usize {
    headers.get("content-length").map_or(0, |length| length.to_str().unwrap().parse().unwrap())
}

/// A whole `POST /v1/predict`, with further header lines, each ended by `\r\n`.
pub fn predict(body: &str, headers: &str) -> String {
    format!("{}Content-Length: {}\r\n{headers}\r\n{body}", predict_head(), body.len())
}

/// A whole request with a JSON body.
pub fn post_to(path: &str, body: &str) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The request line and first headers of a `POST /v1/predict`, to be continued.
pub fn predict_head() -> &'static str {
    "POST /v1/predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
}

/// A piece of a chunked body.
pub fn chunk(bytes: &str) -> String {
    format!("{:x}\r\n{bytes}\r\n", bytes.len())
}
