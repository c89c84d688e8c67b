//! The composition root: every part built once, in dependency order; bind; run; drain.

mod activity;
mod connections;
mod observed;
mod tls;

use std::{
    future::Future,
    net::{SocketAddr, TcpListener as StdListener},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;

use self::{connections::Connections, tls::Certificate};
use crate::{
    api::{self, ApiState},
    config::{Config, DrainConfig, ServerConfig},
    engine::library,
    lifecycle::Lifecycle,
    registry::{Loader, Registry},
    telemetry::{metrics::Metrics, millis},
};

/// How long callers are still heard after the stop signal, and connections after the last one was accepted. What lies in a
/// socket by then must be read first: a connection of which nothing has been read yet counts as idle, and would be closed
/// in its caller's face.
const LAST_CALL: Duration = Duration::from_millis(100);

/// Connections of the second listener: a few scrapers and probes, and some that were left open.
const MOST_PROBES: usize = 64;

/// The whole server, wired and bound, serving nothing yet.
#[derive(Debug)]
pub struct App {
    listener: StdListener,
    addr: SocketAddr,
    router: Router,
    certificate: Option<Certificate>,
    probes: Option<Probes>,
    registry: Arc<Registry>,
    loader: Arc<Loader>,
    lifecycle: Lifecycle,
    server: Arc<ServerConfig>,
    drain: DrainConfig,
    metrics: Arc<Metrics>,
}

/// The second listener: it answers those who look after the server, also when callers have taken all its connections.
#[derive(Debug)]
struct Probes {
    listener: StdListener,
    addr: SocketAddr,
    router: Router,
}

impl App {
    /// Binds the sockets and builds every part. Callers can connect from here on; they are answered once [`run`](Self::run)
    /// is called.
    ///
    /// # Errors
    /// When an address cannot be bound, the certificate cannot be used ([`Problems`](crate::config::Problems)), the model
    /// repository cannot be read, or ONNX Runtime cannot be loaded ([`LibraryError`](library::LibraryError)).
    pub fn build(config: Config) -> anyhow::Result<Self> {
        let (listener, addr) = bind(config.server.listen)?;
        let probes = config.server.metrics_listen.map(bind).transpose()?;

        let lifecycle = Lifecycle::new();
        let metrics = Arc::new(Metrics::new()?);
        let certificate = Certificate::read(&config.server, Arc::clone(&metrics))?;
        let registry = Arc::new(Registry::scan(&config.models)?);
        let library = registry.needs_library().then(|| library::load(&config.runtime)).transpose()?;
        let loader = Arc::new(Loader::new(&config.runtime, library, config.predict.max_text_chars));
        let server = Arc::new(config.server);
        let state = ApiState::new(
            Arc::clone(&registry),
            lifecycle.clone(),
            Arc::clone(&server),
            config.predict,
            Arc::clone(&metrics),
        );
        let probes = probes.map(|(listener, addr)| Probes { listener, addr, router: api::probes(state.clone()) });
        let (router, drain) = (api::router(state), config.drain);
        Ok(Self { listener, addr, router, certificate, probes, registry, loader, lifecycle, server, drain, metrics })
    }

    /// Where HTTP is listened on.
    pub const fn http_addr(&self) -> SocketAddr {
        self.addr
    }

    /// What is spoken there: `http` or `https`.
    pub const fn scheme(&self) -> &'static str {
        if self.certificate.is_some() { "https" } else { "http" }
    }

    /// Where probes and metrics are listened for, if not beside the API.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.probes.as_ref().map(|probes| probes.addr)
    }

    /// Which models there are.
    pub const fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Loads the models and serves until `stop` resolves; then drains. `ready` is called once, when every model has
    /// been tried.
    ///
    /// # Errors
    /// When the socket is lost.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        ready: impl FnOnce(&Registry) + Send + 'static,
    ) -> anyhow::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let (registry, loader, lifecycle) = (Arc::clone(&self.registry), self.loader, self.lifecycle.clone());
        self.lifecycle.spawn(async move {
            registry.load_all(&loader, &lifecycle).await;
            ready(&registry);
        });

        let tls = self.certificate.as_ref().map(Certificate::tls);
        if let Some(certificate) = self.certificate {
            self.lifecycle.spawn(certificate.watch());
        }
        if let Some(probes) = self.probes {
            let listener = TcpListener::from_std(probes.listener)?;
            let connections = Connections::new(probes.router, &self.server, self.lifecycle.clone(), &self.metrics);
            let connections = Arc::new(connections.at_most(MOST_PROBES));
            // To the very end: who looks after the server wants to see it drain.
            self.lifecycle.spawn(async move { connections.accept(&listener).await });
        }

        let mut stop = pin!(stop);
        let connections = Connections::new(self.router, &self.server, self.lifecycle.clone(), &self.metrics);
        let connections = Arc::new(connections.over(tls));
        tokio::select! {
            () = connections.accept(&listener) => {}
            () = &mut stop => {}
        }
        self.lifecycle.begin_drain();
        tracing::info!(delay_ms = millis(self.drain.delay), timeout_ms = millis(self.drain.timeout), "draining");
        let delay = self.drain.delay.max(LAST_CALL);
        let _ = tokio::time::timeout(delay, connections.accept(&listener)).await;
        connections.close(listener);
        tokio::time::sleep(LAST_CALL).await;
        let drained = tokio::time::timeout(self.drain.timeout, connections.shutdown()).await.is_ok();
        self.lifecycle.stop_now();
        self.lifecycle.finished().await;
        if drained {
            tracing::info!("stopped");
        } else {
            tracing::warn!("stopped with requests still in flight: drain.timeout passed");
        }
        Ok(())
    }
}

fn bind(listen: SocketAddr) -> anyhow::Result<(StdListener, SocketAddr)> {
    let listener = StdListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}
