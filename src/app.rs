//! The composition root: every part built once, in dependency order; bind; run; drain.

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
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};

use self::impatient::Impatient;
use crate::{
    api::{self, ApiState},
    config::{Config, DrainConfig, RuntimeConfig, ServerConfig},
    engine::{library, session::Library},
    lifecycle::Lifecycle,
    registry::{Loader, Registry},
    telemetry::millis,
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
        let registry = Arc::new(Registry::scan(&config.models)?);
        let library = registry.needs_library().then(|| load_library(&config.runtime)).transpose()?;
        let loader = Arc::new(Loader::new(&config.runtime, library, config.predict.max_text_chars));
        let server = Arc::new(config.server);
        let state = ApiState::new(Arc::clone(&registry), lifecycle.clone(), Arc::clone(&server), config.predict);
        let router = api::router(state);
        Ok(Self { listener, addr, router, registry, loader, lifecycle, server, drain: config.drain })
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

/// Finds the library and loads it. [`library::probe`] has shown before that this cannot harm the process.
fn load_library(config: &RuntimeConfig) -> anyhow::Result<&'static Library> {
    let found = library::find(config)?;
    Library::load(&found.path).map_err(|error| found.error(format!("{error:#}")).into())
}

/// Open connections, each in its own task.
struct Connections {
    router: Router,
    http: http1::Builder,
    graceful: GracefulShutdown,
    permits: Arc<Semaphore>,
    /// How long an answer may wait for its caller to take any of it.
    patience: Duration,
    lifecycle: Lifecycle,
}

impl Connections {
    fn new(router: Router, config: &ServerConfig, lifecycle: Lifecycle) -> Self {
        let mut http = http1::Builder::new();
        // Also ends kept-alive connections that stay silent.
        http.timer(TokioTimer::new()).header_read_timeout(config.header_timeout);
        let permits = Arc::new(Semaphore::new(config.max_connections));
        let patience = config.request_timeout;
        Self { router, http, graceful: GracefulShutdown::new(), permits, patience, lifecycle }
    }

    /// Accepts for ever. Past `max_connections`, callers wait in the system's backlog.
    async fn accept(&self, listener: &TcpListener) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _peer)) => {
                    let _ = stream.set_nodelay(true);
                    let service = TowerToHyperService::new(self.router.clone());
                    let stream = TokioIo::new(Impatient::new(stream, self.patience));
                    let connection = self.graceful.watch(self.http.serve_connection(stream, service));
                    self.lifecycle.spawn(async move {
                        // A caller that leaves or speaks no HTTP is no event of ours.
                        let _ = connection.await;
                        drop(permit);
                    });
                }
                // Out of file descriptors, for instance: callers that leave free some.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Lets every connection finish the request it is at.
    async fn shutdown(self) {
        self.graceful.shutdown().await;
    }
}
