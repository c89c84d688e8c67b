//! A caller that frames its messages itself, rightly or wrongly, and shows all that came back.

use std::{convert::Infallible, net::SocketAddr};

use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{HeaderMap, Request, StatusCode, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};

use crate::support::patiently;

pub const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// One connection.
pub struct Caller {
    sender: http2::SendRequest<UnsyncBoxBody<Bytes, Infallible>>,
    /// Drives the connection, and ends with it.
    _connection: JoinSet<()>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub http: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

impl Caller {
    pub async fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.unwrap()).await
    }

    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let mut connection = JoinSet::new();
        connection.spawn(async { drop(driver.await) });
        Self { sender, _connection: connection }
    }

    /// Calls a method with one message.
    pub async fn call(&mut self, method: &str, headers: &[(&str, &str)], message: &impl Message) -> Answer {
        self.send(method, headers, frame(&message.encode_to_vec())).await
    }

    /// Sends whatever is given as the body.
    pub async fn send(&mut self, method: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.stream(method, headers, Full::new(body.into()).boxed_unsync()).await
    }

    /// Sends a body as it comes.
    pub async fn stream(
        &mut self,
        method: &str,
        headers: &[(&str, &str)],
        body: UnsyncBoxBody<Bytes, Infallible>,
    ) -> Answer {
        let request = Request::post(format!("http://test{method}")).header("te", "trailers");
        let own = [("content-type", "application/grpc")];
        let own = own.iter().filter(|(name, _)| !headers.iter().any(|(other, _)| other == name));
        let request = own.chain(headers).fold(request, |request, (name, value)| request.header(*name, *value));
        let answering = async {
            self.sender.ready().await.unwrap();
            let (parts, body) = self.sender.send_request(request.body(body).unwrap()).await.unwrap().into_parts();
            let body = body.collect().await.unwrap();
            let trailers = body.trailers().cloned().unwrap_or_default();
            Answer { http: parts.status, headers: parts.headers, body: body.to_bytes(), trailers }
        };
        patiently(answering).await
    }
}

impl Answer {
    /// The status, which stands in the head only where nothing follows it.
    pub fn status(&self) -> i32 {
        let place = if self.headers.contains_key("grpc-status") { &self.headers } else { &self.trailers };
        assert!(self.body.is_empty() || self.trailers.contains_key("grpc-status"), "{self:?}");
        place["grpc-status"].to_str().unwrap().parse().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The only message of an answer that is none of a failure.
    pub fn message<T: Message + Default>(&self) -> T {
        assert_eq!(self.status(), 0, "{self:?}");
        let mut body = self.body.clone();
        assert_eq!(body.get_u8(), 0, "it is compressed");
        assert_eq!(body.get_u32() as usize, body.len());
        T::decode(body).unwrap()
    }
}

/// A message as it is sent.
pub fn frame(message: &[u8]) -> Vec<u8> {
    [&[0], &(message.len() as u32).to_be_bytes()[..], message].concat()
}
