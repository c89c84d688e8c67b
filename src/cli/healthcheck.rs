//! `glassbox healthcheck`: asks a running server from inside its container, where no other client is.

use std::{
    future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use http_body_util::Empty;
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::any_certificate;
use crate::config::{Config, ServerConfig};

#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    /// Ask whether the server is alive, not whether it is ready.
    #[arg(long)]
    live: bool,
    /// Ask the model worker on queue.worker_listen.
    #[arg(long)]
    worker: bool,
    /// Wait this long for the answer.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

pub(super) fn run(config: &Config, args: &HealthcheckArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = match args.worker {
        true => Listener { addr: reachable(config.queue.worker_listen), tls: false },
        false => Listener::to_ask(&config.server),
    };
    let place = listener.place();
    let path = if args.live { "/healthz" } else { "/readyz" };
    let asked = runtime.block_on(async { tokio::time::timeout(args.timeout, listener.ask(path)).await });
    let status = asked.with_context(|| {
        format!("no answer from {place}{path} within {}", humantime::format_duration(args.timeout))
    })??;
    anyhow::ensure!(status == StatusCode::OK, "{place}{path} answers {status}");
    Ok(ExitCode::SUCCESS)
}

/// Whom to ask.
pub(super) struct Listener {
    addr: SocketAddr,
    tls: bool,
}

impl Listener {
    /// The one at this address.
    pub(super) const fn at(listen: SocketAddr, tls: bool) -> Self {
        Self { addr: reachable(listen), tls }
    }

    /// The second listener, where there is one: it answers also when callers have taken all connections of the first.
    fn to_ask(server: &ServerConfig) -> Self {
        match server.metrics_listen {
            Some(addr) => Self::at(addr, false),
            None => Self::at(server.listen, server.tls_cert.is_some()),
        }
    }

    fn place(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.addr)
    }

    /// # Errors
    /// When there is nobody, or no answer that can be understood. Waits for as long as it takes.
    pub(super) async fn ask(&self, path: &str) -> anyhow::Result<StatusCode> {
        let stream = TcpStream::connect(self.addr).await.with_context(|| self.unreachable())?;
        if !self.tls {
            return self.speak(stream, path).await;
        }
        let tls = any_certificate::connector()?;
        let stream = tls.connect(self.addr.ip().into(), stream).await.with_context(|| self.unreachable())?;
        self.speak(stream, path).await
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        path: &str,
    ) -> anyhow::Result<StatusCode> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.with_context(|| self.unreachable())?;
        let request = Request::get(path).header(header::HOST, self.addr.to_string()).body(Empty::<Bytes>::new())?;
        // The connection may end with the answer, which counts: one that ends without fails the request.
        let driven = async {
            let _ended = connection.await;
            future::pending().await
        };
        tokio::select! {
            response = sender.send_request(request) => Ok(response.with_context(|| self.unreachable())?.status()),
            never = driven => never,
        }
    }

    fn unreachable(&self) -> String {
        format!("{} cannot be reached", self.place())
    }
}

/// A server that listens everywhere is asked on loopback.
const fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
