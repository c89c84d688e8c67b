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
use jiff::Timestamp;
use tokio::net::TcpListener;

use self::connections::Connections;
use crate::{
    api::{self, ApiState},
    config::{Config, DrainConfig, ServerConfig},
    engine::library,
    keys::{KeyStore, KeysError},
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
    metrics: Arc<Metrics>,
    keys: Option<Arc<KeyStore>>,
    registry: Arc<Registry>,
    loader: Arc<Loader>,
    lifecycle: Lifecycle,
    server: Arc<ServerConfig>,
    drain: DrainConfig,
}

impl App {
    /// Binds the socket and builds every part. Callers can connect from here on; they are answered once [`run`](Self::run)
    /// is called.
    ///
    /// # Errors
    /// When the address cannot be bound, the keys file is of no use ([`KeysError`]), the model repository cannot be read,
    /// or ONNX Runtime cannot be loaded ([`LibraryError`](library::LibraryError)).
    pub fn build(config: Config) -> anyhow::Result<Self> {
        let listen = config.server.listen;
        let listener = StdListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;

        let lifecycle = Lifecycle::new();
        let metrics = Arc::new(Metrics::new()?);
        let keys = open_keys(&config, &metrics)?;
        let registry = Arc::new(Registry::scan(&config.models)?);
        let library = registry.needs_library().then(|| library::load(&config.runtime)).transpose()?;
        let loader =
            Arc::new(Loader::new(&config.runtime, library, config.predict.max_text_chars, Arc::clone(&metrics)));
        let server = Arc::new(config.server);
        let state = ApiState::new(
            Arc::clone(&registry),
            keys.clone(),
            lifecycle.clone(),
            Arc::clone(&server),
            config.predict,
            Arc::clone(&metrics),
        );
        let router = api::router(state);
        Ok(Self { listener, addr, router, metrics, keys, registry, loader, lifecycle, server, drain: config.drain })
    }

    /// Where HTTP is listened on.
    pub const fn http_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Which models there are.
    pub const fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// What is counted and measured.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Who may call; anyone when absent.
    pub const fn keys(&self) -> Option<&Arc<KeyStore>> {
        self.keys.as_ref()
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

        if let Some(keys) = &self.keys {
            keys.watch(&self.lifecycle);
        }
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

/// The keys, where they are asked for. A server that more than this machine can reach must have one that can be used.
fn open_keys(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<Arc<KeyStore>>, KeysError> {
    let Some(path) = config.auth.keys() else { return Ok(None) };
    let keys = KeyStore::open(path, &config.rate_limit, Arc::clone(metrics))?;
    if !config.server.listen.ip().is_loopback() && keys.set().usable(Timestamp::now()) == 0 {
        return Err(KeysError::NoUsableKey { path: path.to_owned() });
    }
    Ok(Some(keys))
}
