//! A caller that chooses its protocol, and tells what became of its connection.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, StatusCode, Version,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub use crate::support::patiently;

/// One connection.
pub struct Client {
    sender: Sender,
    /// Drives the connection, and ends with it.
    connection: JoinSet<()>,
    /// What the server showed first, over TLS.
    pub certificate: Option<CertificateDer<'static>>,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What a caller of HTTPS wants to see.
#[derive(Clone)]
pub struct Trust {
    pub roots: Vec<CertificateDer<'static>>,
    pub protocols: &'static [&'static str],
    pub versions: &'static [&'static SupportedProtocolVersion],
}

impl Client {
    pub async fn http1(addr: SocketAddr) -> Self {
        Self::one(patiently(TcpStream::connect(addr)).await.unwrap()).await.unwrap()
    }

    /// HTTP/2 from the first byte on.
    pub async fn http2(addr: SocketAddr) -> Self {
        Self::two(patiently(TcpStream::connect(addr)).await.unwrap()).await.unwrap()
    }

    /// The protocol that the server chooses.
    pub async fn https(addr: SocketAddr, trust: &Trust) -> Result<Self, String> {
        let stream = handshake(addr, trust).await.map_err(|error| error.to_string())?;
        let session = stream.get_ref().1;
        let certificate = session.peer_certificates().map(|chain| chain[0].clone().into_owned());
        Self::over(stream).await.map(|client| Self { certificate, ..client }).map_err(|error| error.to_string())
    }

    /// The same from another address of this machine, and so from another caller.
    pub async fn https_from(source: [u8; 4], addr: SocketAddr, trust: &Trust) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((source, 0))).unwrap();
        let stream = patiently(socket.connect(addr)).await.unwrap();
        Self::over(handshake_over(stream, trust).await.unwrap()).await.unwrap()
    }

    async fn over(stream: TlsStream<TcpStream>) -> hyper::Result<Self> {
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Self::two(stream).await,
            _ => Self::one(stream).await,
        }
    }

    pub async fn one(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> hyper::Result<Self> {
        let (sender, driver) = patiently(http1::handshake(TokioIo::new(stream))).await?;
        let mut connection = JoinSet::new();
        connection.spawn(async { drop(driver.await) });
        Ok(Self { sender: Sender::One(sender), connection, certificate: None })
    }

    pub async fn two(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> hyper::Result<Self> {
        let (sender, driver) = patiently(http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await?;
        let mut connection = JoinSet::new();
        connection.spawn(async { drop(driver.await) });
        Ok(Self { sender: Sender::Two(sender), connection, certificate: None })
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask(Request::get(path), Bytes::new()).await.unwrap()
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.try_post(path, body).await.unwrap()
    }

    pub async fn try_post(&mut self, path: &str, body: &Value) -> hyper::Result<Answer> {
        let request = Request::post(path).header("content-type", "application/json");
        self.ask(request, body.to_string().into()).await
    }

    /// Sends a request with further headers.
    pub async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.ask(request, body.to_owned().into()).await.unwrap()
    }

    async fn ask(&mut self, request: hyper::http::request::Builder, body: Bytes) -> hyper::Result<Answer> {
        let response = match &mut self.sender {
            Sender::One(sender) => {
                patiently(sender.ready()).await?;
                let request = request.header("host", "test").body(Full::new(body)).unwrap();
                patiently(sender.send_request(request)).await?
            }
            Sender::Two(sender) => {
                patiently(sender.ready()).await?;
                let request = absolute(request.body(Full::new(body)).unwrap());
                patiently(sender.send_request(request)).await?
            }
        };
        let (parts, body) = response.into_parts();
        let body = patiently(body.collect()).await?.to_bytes();
        Ok(Answer { status: parts.status, version: parts.version, headers: parts.headers, body })
    }

    /// Several requests of one connection at the same time.
    pub fn another(&self) -> http2::SendRequest<Full<Bytes>> {
        match &self.sender {
            Sender::Two(sender) => sender.clone(),
            Sender::One(_) => panic!("HTTP/1.1 has one request at a time"),
        }
    }

    /// Whether a further request can be sent.
    pub async fn is_open(&mut self) -> bool {
        match &mut self.sender {
            Sender::One(sender) => patiently(sender.ready()).await.is_ok(),
            Sender::Two(sender) => patiently(sender.ready()).await.is_ok(),
        }
    }

    /// Waits until the server ends the connection.
    pub async fn closed(&mut self) {
        patiently(self.connection.join_next()).await.unwrap().unwrap();
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A TLS connection over which nothing was said yet.
pub async fn handshake(addr: SocketAddr, trust: &Trust) -> std::io::Result<TlsStream<TcpStream>> {
    handshake_over(patiently(TcpStream::connect(addr)).await?, trust).await
}

async fn handshake_over(stream: TcpStream, trust: &Trust) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    trust.roots.iter().for_each(|root| roots.add(root.clone()).unwrap());
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(trust.versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = trust.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    patiently(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// HTTP/2 names the host in the address.
pub fn absolute<B>(mut request: Request<B>) -> Request<B> {
    let path = request.uri().path();
    *request.uri_mut() = format!("http://test{path}").parse().unwrap();
    request
}
