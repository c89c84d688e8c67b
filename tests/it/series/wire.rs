//! One connection on which many requests are sent before the first answer is read.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

pub struct Wire {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Wire {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream: BufReader::with_capacity(64 * 1024, stream), line: Vec::new() }
    }

    pub fn say(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub fn ask(&mut self, request: &str) -> u16 {
        self.say(request);
        self.answer(false)
    }

    /// Reads one answer and returns its status. To `HEAD` there comes no body, whatever the length says.
    pub fn answer(&mut self, bodiless: bool) -> u16 {
        self.next_line();
        let status = self.header(" ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {:?}", String::from_utf8_lossy(&self.line)));
        let mut length = 0;
        loop {
            self.next_line();
            if self.line.is_empty() {
                break;
            }
            if let Some(text) = self.header("content-length: ") {
                length = text.parse().unwrap();
            }
            assert!(self.header("connection: close").is_none(), "{status} ends the connection");
        }
        self.skip(if bodiless { 0 } else { length });
        status
    }

    /// What follows in the line after `name`, up to which there is no space.
    fn header(&self, name: &str) -> Option<&str> {
        let line = std::str::from_utf8(&self.line).ok()?;
        let end = line.find(' ')? + 1;
        let (begin, rest) = line.split_at(end);
        begin.ends_with(name).then_some(rest)
    }

    fn next_line(&mut self) {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line).expect("nothing comes for 30 s");
        assert!(self.line.ends_with(b"\r\n"), "the connection was closed within an answer");
        self.line.truncate(self.line.len() - 2);
    }

    fn skip(&mut self, mut length: usize) {
        while length > 0 {
            let read = self.stream.fill_buf().unwrap().len().min(length);
            assert!(read > 0, "the connection was closed within a body");
            self.stream.consume(read);
            length -= read;
        }
    }
}
