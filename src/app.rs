//! The composition root: every part built once, in dependency order; bind; run; drain.

mod connections;
mod impatient;

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

use self::connections::Connections;
use crate::{
    api::{self, ApiState},
    cache::Cache,
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

/// The whole server, wired and bound, serving nothing yet.
#[derive(Debug)]
pub struct App {
    listener: StdListener,
    addr: SocketAddr,
    router: Router,
    registry: Arc<Registry>,
    loader: Arc<Loader>,
    cache: Arc<Cache>,
    lifecycle: Lifecycle,
    server: Arc<ServerConfig>,
    drain: DrainConfig,
}

impl App {
    /// Binds the socket and builds every part. Callers can connect from here on; they are answered once [`run`](Self::run)
    /// is called.
    ///
    /// # Errors
    /// When the address cannot be bound, the model repository cannot be read, or ONNX Runtime cannot be loaded
    /// ([`LibraryError`](library::LibraryError)).
    pub fn build(config: Config) -> anyhow::Result<Self> {
        let listen = config.server.listen;
        let listener = StdListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;

        let lifecycle = Lifecycle::new();
        let metrics = Arc::new(Metrics::new()?);
        let registry = Arc::new(Registry::scan(&config.models)?);
        let library = registry.needs_library().then(|| library::load(&config.runtime)).transpose()?;
        let loader =
            Arc::new(Loader::new(&config.runtime, library, config.predict.max_text_chars, Arc::clone(&metrics)));
        let cache = Arc::new(Cache::new(&config.cache, &config.redis, Arc::clone(&metrics))?);
        let server = Arc::new(config.server);
        let state = ApiState::new(
            Arc::clone(&registry),
            Arc::clone(&cache),
            lifecycle.clone(),
            Arc::clone(&server),
            config.predict,
            metrics,
        );
        let router = api::router(state);
        Ok(Self { listener, addr, router, registry, loader, cache, lifecycle, server, drain: config.drain })
    }

    /// Where HTTP is listened on.
    pub const fn http_addr(&self) -> SocketAddr {
        self.addr
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
        self.cache.start(&self.lifecycle);
        let (registry, loader, lifecycle) = (Arc::clone(&self.registry), self.loader, self.lifecycle.clone());
        self.lifecycle.spawn(async move {
            registry.load_all(&loader, &lifecycle).await;
            ready(&registry);
        });

        let mut stop = pin!(stop);
        let connections = Connections::new(self.router, &self.server, self.lifecycle.clone());
        tokio::select! {
            () = connections.accept(&listener) => {}
            () = &mut stop => {}
        }
        self.lifecycle.begin_drain();
        tracing::info!(delay_ms = millis(self.drain.delay), timeout_ms = millis(self.drain.timeout), "draining");
        let delay = self.drain.delay.max(LAST_CALL);
        let _ = tokio::time::timeout(delay, connections.accept(&listener)).await;
        drop(listener);
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
