//! Addresses for servers that are started anew during a test.

use std::{
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the ports that systems give to connections, and to who asks for any port.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// Addresses of this machine that nobody else gets, neither another test nor the other end of a connection: they stay free
/// while a server is down, and until its successor has been started.
pub fn free<const N: usize>() -> [SocketAddr; N] {
    std::array::from_fn(|_| next())
}

fn next() -> SocketAddr {
    static USED: AtomicU16 = AtomicU16::new(0);
    // Another run of the tests begins elsewhere.
    let begin = std::process::id() * 509;
    for _ in 0..COUNT {
        let port = FIRST + (begin + u32::from(USED.fetch_add(1, Ordering::Relaxed))) % COUNT;
        let addr = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
    panic!("somebody listens on every port from {FIRST} to {}", FIRST + COUNT);
}
