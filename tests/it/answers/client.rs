//! One HTTP/2 connection whose caller takes heads and leaves bodies where they are.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use crate::transport::client::patiently;

/// More requests at once than this may meet the server's bound on streams.
pub const STREAMS: usize = 100;

/// Where callers come from who are not those of the test.
pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

pub struct Connection {
    sender: http2::SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

impl Connection {
    /// Each stream may be sent one byte before its body is read.
    pub async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(1);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async { drop(connection.await) });
        Self { sender, _driver: driver }
    }

    /// The heads of [`STREAMS`] answers, with their bodies unread.
    pub async fn heads(&mut self, request: impl Fn() -> Request<Full<Bytes>>) -> Vec<Response<Incoming>> {
        let mut answers = Vec::new();
        let mut coming = Vec::new();
        for _ in 0..STREAMS {
            patiently(self.sender.ready()).await.unwrap();
            coming.push(self.sender.send_request(request()));
        }
        for answer in coming {
            answers.push(patiently(answer).await.unwrap());
        }
        answers
    }
}

/// A connection from the address of another caller.
pub async fn from_neighbour(addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((NEIGHBOUR, 0).into()).unwrap();
    socket.connect(addr).await.unwrap()
}
