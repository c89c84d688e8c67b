//! `glassbox healthcheck`: asks a running server from inside its container, where no other client is.

use std::{
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
use tokio::net::TcpStream;

use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    /// Ask whether the server is alive, not whether it is ready.
    #[arg(long)]
    live: bool,
    /// Wait this long for the answer.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

pub(super) fn run(config: &Config, args: &HealthcheckArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let addr = reachable(config.server.listen);
    let path = if args.live { "/healthz" } else { "/readyz" };
    let asked = runtime.block_on(async { tokio::time::timeout(args.timeout, ask(addr, path)).await });
    let status = asked.with_context(|| {
        format!("no answer from http://{addr}{path} within {}", humantime::format_duration(args.timeout))
    })??;
    anyhow::ensure!(status == StatusCode::OK, "http://{addr}{path} answers {status}");
    Ok(ExitCode::SUCCESS)
}

async fn ask(addr: SocketAddr, path: &str) -> anyhow::Result<StatusCode> {
    let unreachable = || format!("http://{addr} cannot be reached");
    let stream = TcpStream::connect(addr).await.with_context(unreachable)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(unreachable)?;
    let request = Request::get(path).header(header::HOST, addr.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request);
    tokio::select! {
        response = response => Ok(response.with_context(unreachable)?.status()),
        _ = connection => anyhow::bail!("http://{addr} closed the connection"),
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
