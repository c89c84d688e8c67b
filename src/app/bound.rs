//! An address that is taken. Whether callers are let in from then on, or later, is the configuration's to say.

use std::net::{SocketAddr, TcpListener as StdListener};

use anyhow::Context;
use tokio::net::{TcpListener, TcpSocket};

/// Callers that may wait to be accepted: what the standard library asks of the system too, and the system may allow less.
pub(super) const BACKLOG: u32 = 4096;

/// Taken before anything else is done, so that a second server on the same port ends at once.
#[derive(Debug)]
pub(super) struct Bound {
    socket: Socket,
    pub addr: SocketAddr,
}

#[derive(Debug)]
enum Socket {
    /// Callers can connect, and wait.
    Open(StdListener),
    /// The system refuses them.
    Closed(TcpSocket),
}

impl Bound {
    /// Callers can connect from here on.
    pub(super) fn open(listen: SocketAddr) -> anyhow::Result<Self> {
        let listener = StdListener::bind(listen).with_context(|| unavailable(listen))?;
        listener.set_nonblocking(true)?;
        Ok(Self { addr: listener.local_addr()?, socket: Socket::Open(listener) })
    }

    /// Callers can connect once they are [listened](Self::listen) for.
    pub(super) fn closed(listen: SocketAddr) -> anyhow::Result<Self> {
        let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(listen).with_context(|| unavailable(listen))?;
        Ok(Self { addr: socket.local_addr()?, socket: Socket::Closed(socket) })
    }

    /// Lets callers in.
    pub(super) fn listen(self) -> anyhow::Result<TcpListener> {
        match self.socket {
            Socket::Open(listener) => TcpListener::from_std(listener),
            Socket::Closed(socket) => socket.listen(BACKLOG),
        }
        .with_context(|| unavailable(self.addr))
    }
}

fn unavailable(listen: SocketAddr) -> String {
    format!("cannot listen on {listen}")
}
