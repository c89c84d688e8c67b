//! A server that speaks Redis' protocol and means no good.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Nobody is sent more on one connection.
const MAX_SENT: u64 = 256 * 1024 * 1024;

/// What is sent instead of a reply: a beginning, and a piece that is sent again and again.
pub type Trick = (&'static [u8], &'static [u8]);

/// Answers what a client says at first as Redis does, and everything else with a trick.
pub struct Enemy {
    pub addr: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Connections that a trick was played on, and that were closed by the client then.
    tricked: AtomicU64,
    /// The most that one of them took.
    taken: AtomicU64,
}

impl Enemy {
    pub fn start((beginning, piece): Trick) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let seen: Arc<Seen> = Arc::default();
        let accepting = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&accepting);
                std::thread::spawn(move || {
                    seen.serve(stream, beginning, &piece.repeat(1 + (1 << 16) / piece.len().max(1)))
                });
            }
        });
        Self { addr, seen }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// How many connections a client has given up after a trick.
    pub fn given_up(&self) -> u64 {
        self.seen.tricked.load(Ordering::Relaxed)
    }

    /// The most bytes that a client took on one connection.
    pub fn taken(&self) -> u64 {
        self.seen.taken.load(Ordering::Relaxed)
    }
}

impl Seen {
    fn serve(&self, mut stream: TcpStream, beginning: &[u8], pieces: &[u8]) {
        let mut buffer = [0; 64 * 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            let Some(reply) = honest(&String::from_utf8_lossy(&buffer[..read])) else {
                self.play(&mut stream, beginning, pieces);
                return;
            };
            if stream.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn play(&self, stream: &mut TcpStream, beginning: &[u8], pieces: &[u8]) {
        let mut sent = 0;
        let mut next = beginning;
        while sent < MAX_SENT && stream.write_all(next).is_ok() {
            sent += next.len() as u64;
            self.taken.fetch_max(sent, Ordering::Relaxed);
            if pieces.is_empty() {
                // All is said: the client closes the connection, or waits.
                while let Ok(1..) = stream.read(&mut [0; 1024]) {}
                break;
            }
            next = pieces;
        }
        self.tricked.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a server says when a client comes, and when it looks whether the server lives.
fn honest(commands: &str) -> Option<String> {
    let count = commands.split("\r\n").filter(|line| line.starts_with('*')).count();
    let reply = if commands.contains("PING") {
        "+PONG\r\n"
    } else if commands.contains("CLIENT") || commands.contains("probe") {
        "+OK\r\n"
    } else {
        return None;
    };
    Some(reply.repeat(count))
}
