//! The composition root: every part built once, in dependency order; bind; run; drain.

mod activity;
pub mod any_certificate;
mod bound;
mod connections;
mod doors;
mod handshake;
mod model_worker;
mod observed;
mod seats;
mod tls;
mod workers;

use std::{future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use jiff::Timestamp;
use tokio::{runtime::Handle, sync::oneshot};

pub use self::model_worker::ModelWorker;
use self::{bound::Bound, connections::Connections, doors::Doors, seats::Seats, tls::Certificate, workers::Workers};
use crate::{
    api::{self, ApiState, Limits, Parts},
    cache::Cache,
    config::{Config, DrainConfig, HistoryMode, Role},
    engine::library,
    history::History,
    keys::{KeyStore, KeysError},
    lifecycle::Lifecycle,
    queue::{Broker, Queue},
    registry::{Loader, Registry},
    telemetry::{metrics::Metrics, millis, traces::Tracer},
};

/// How long callers are still heard after the stop signal, and connections after the last one was accepted. What lies in a
/// socket by then must be read first: a connection of which nothing has been read yet counts as idle, and would be closed
/// in its caller's face.
const LAST_CALL: Duration = Duration::from_millis(100);

/// How long the collector may take for the last traces.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// How long the last rows of the history may take to the database, or to the disk.
const LAST_ROWS: Duration = Duration::from_secs(5);

/// How long background tasks may take to end. One that is inside of a run which does not end never will.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// Between two looks at what is measured over time.
const MINUTE: Duration = Duration::from_secs(60);

/// Connections of the second listener: a few scrapers and probes, and some that were left open.
const MOST_PROBES: usize = 64;

/// The whole server, wired and bound, serving nothing yet.
#[derive(Debug)]
pub struct App {
    listener: Bound,
    addr: SocketAddr,
    state: ApiState,
    certificate: Option<Certificate>,
    /// Beside `listener`, for gRPC alone.
    grpc: Option<Bound>,
    probes: Option<Probes>,
    loader: Arc<Loader>,
    drain: DrainConfig,
}

/// The second listener: it answers those who look after the server, also when callers have taken all its connections.
#[derive(Debug)]
struct Probes {
    listener: Bound,
    router: Router,
}

impl App {
    /// Binds the sockets and builds every part. Callers can connect from here on, unless `server.listen_when_ready`; they are
    /// answered once [`run`](Self::run) is called.
    ///
    /// # Errors
    /// When an address cannot be bound, the certificate or the keys file is of no use ([`Problems`](crate::config::Problems),
    /// [`KeysError`]), the model repository cannot be read, or ONNX Runtime cannot be loaded
    /// ([`LibraryError`](library::LibraryError)).
    pub fn build(config: Config) -> anyhow::Result<Self> {
        let bind = if config.server.listen_when_ready { Bound::closed } else { Bound::open };
        let listener = bind(config.server.listen)?;
        let grpc = config.server.grpc_listen.map(bind).transpose()?;
        let probes = config.server.metrics_listen.map(Bound::open).transpose()?;

        let metrics = Arc::new(Metrics::new()?);
        let certificate = Certificate::read(&config.server, Arc::clone(&metrics))?;
        let keys = open_keys(&config, &metrics)?;
        let split = config.server.role == Role::Api;
        let registry = if split { Registry::elsewhere(&config.models)? } else { Registry::scan(&config.models)? };
        let registry = Arc::new(registry);
        let queue = split.then(|| open_queue(&config, &metrics)).transpose()?;
        let library = registry.needs_library().then(|| library::load(&config.runtime)).transpose()?;
        let loader =
            Arc::new(Loader::new(&config.runtime, library, config.predict.max_text_chars, Arc::clone(&metrics)));
        let lifecycle = Lifecycle::new();
        let tracer = Tracer::new(&config.telemetry, &metrics)?.map(|(tracer, telling)| {
            lifecycle.spawn(telling);
            Arc::new(tracer)
        });
        let state = ApiState::new(Parts {
            registry,
            loader: Arc::clone(&loader),
            cache: Arc::new(Cache::new(&config.cache, &config.redis, Arc::clone(&metrics))?),
            keys,
            history: History::new(&config.history, Arc::clone(&metrics))?,
            broker: queue.as_ref().map(|queue| Arc::clone(queue.broker())),
            queue,
            limits: Limits::new(&config.rate_limit, Arc::clone(&metrics)),
            server: config.server,
            predict: config.predict,
            docs: config.docs,
            public_metrics: config.auth.public_metrics,
            tracer,
            lifecycle,
            metrics,
        });
        let probes = probes.map(|listener| Probes { router: api::probes(state.clone(), listener.addr), listener });
        Ok(Self { addr: listener.addr, listener, state, certificate, grpc, probes, loader, drain: config.drain })
    }

    /// Where HTTP is listened on.
    pub const fn http_addr(&self) -> SocketAddr {
        self.addr
    }

    /// What is spoken there: `http` or `https`.
    pub const fn scheme(&self) -> &'static str {
        if self.certificate.is_some() { "https" } else { "http" }
    }

    /// Where gRPC alone is listened for, if anywhere.
    pub fn grpc_addr(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().map(|bound| bound.addr)
    }

    /// Where probes and metrics are listened for, if not beside the API.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.probes.as_ref().map(|probes| probes.listener.addr)
    }

    /// What the handlers share.
    pub const fn state(&self) -> &ApiState {
        &self.state
    }

    /// Loads the models and serves until `stop` resolves; then drains. `ready` is called once, when every model has
    /// been tried.
    ///
    /// # Errors
    /// When the socket is lost, or the system has no more threads.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        ready: impl FnOnce(&Registry) + Send + 'static,
    ) -> anyhow::Result<()> {
        let Parts { registry, cache, history, queue, keys, limits, lifecycle, metrics, predict, .. } = &**self.state;
        cache.start(lifecycle);
        if let Some(history) = history {
            history.start(lifecycle);
        }
        if let Some(queue) = queue {
            let (following, counts, most) = (Arc::clone(registry), Arc::clone(metrics), predict.max_text_chars);
            queue.start(lifecycle, move |fleet| following.follow(fleet, most, &counts));
        }
        let (loading, loads) = (Arc::clone(registry), lifecycle.clone());
        let ((tried, all_tried), (open_now, doors_open)) = (oneshot::channel::<()>(), oneshot::channel::<()>());
        lifecycle.spawn(async move {
            loading.load_all(&self.loader, &loads).await;
            drop(tried);
            let _ = doors_open.await;
            ready(&loading);
        });
        if let Some(keys) = keys {
            keys.watch(lifecycle);
        }
        if let Some(limits) = limits {
            lifecycle.spawn(Arc::clone(limits).keep_tidy());
        }

        let ticking = Arc::clone(metrics);
        lifecycle.spawn(async move {
            loop {
                tokio::time::sleep(MINUTE).await;
                ticking.tick();
            }
        });

        let tls = self.certificate.as_ref().map(Certificate::tls);
        if let Some(certificate) = self.certificate {
            lifecycle.spawn(certificate.watch());
        }
        if let Some(probes) = self.probes {
            let listener = probes.listener.listen()?;
            // A thread of their own: they answer also while all others are busy.
            let workers = Workers::start(1, || probes.router.clone())?;
            let (server, seats) = (&self.state.server, Seats::new(&self.state.server, Arc::clone(metrics)));
            let seats = seats.at_most(MOST_PROBES);
            let connections = Connections::new(workers, probes.router, seats, server, lifecycle.clone(), metrics);
            let connections = Arc::new(connections);
            // To the very end: who looks after the server wants to see it drain.
            lifecycle.spawn(async move { connections.accept(&listener).await });
        }

        let mut stop = pin!(stop);
        let (mut doors, mut runtimes) = (Doors::default(), vec![Handle::current()]);
        let mut open = |listener: Bound, router: &dyn Fn() -> Router, reserve: Router| {
            let workers = Workers::start(Handle::current().metrics().num_workers(), router)?;
            runtimes.extend(workers.runtimes());
            let (server, seats) = (&self.state.server, Seats::new(&self.state.server, Arc::clone(metrics)));
            let connections = Connections::new(workers, reserve, seats, server, lifecycle.clone(), metrics);
            doors.add(listener.listen()?, connections.over(tls.clone()));
            anyhow::Ok(())
        };
        let wanted = tokio::select! {
            _ = all_tried, if self.state.server.listen_when_ready => true,
            () = &mut stop, if self.state.server.listen_when_ready => false,
            else => true,
        };
        if wanted {
            let (addr, state) = (self.addr, &self.state);
            open(self.listener, &|| api::router(state.apart(), addr), api::reserve(state.clone(), addr))?;
            if let Some(listener) = self.grpc {
                let addr = listener.addr;
                open(listener, &|| api::grpc(state.apart(), addr), api::grpc_reserve(state.clone(), addr))?;
            }
            drop(open_now);
            metrics.machine.follow(runtimes);
            tokio::select! {
                () = doors.accept() => {}
                () = &mut stop => {}
            }
        }
        lifecycle.begin_drain();
        tracing::info!(delay_ms = millis(self.drain.delay), timeout_ms = millis(self.drain.timeout), "draining");
        let delay = self.drain.delay.max(LAST_CALL);
        let _ = tokio::time::timeout(delay, doors.accept()).await;
        doors.close();
        tokio::time::sleep(LAST_CALL).await;
        let drained = tokio::time::timeout(self.drain.timeout, doors.shutdown()).await.is_ok();
        if let Some(history) = history {
            history.close(LAST_ROWS).await;
        }
        if let Some(tracer) = &self.state.tracer {
            let _ = tokio::time::timeout(LAST_SPANS, tracer.flush()).await;
        }
        lifecycle.stop_now();
        let finished = tokio::time::timeout(LAST_TASKS, lifecycle.finished()).await.is_ok();
        if drained && finished {
            tracing::info!("stopped");
        } else {
            tracing::warn!("stopped with requests still in flight: drain.timeout passed");
        }
        Ok(())
    }
}

/// The longest that a server or a worker takes to stop by itself after it was told to.
pub fn longest_stop(config: &Config) -> Duration {
    let rows = if config.history.mode == HistoryMode::Off { Duration::ZERO } else { LAST_ROWS };
    let spans = if config.telemetry.otlp_endpoint.is_empty() { Duration::ZERO } else { LAST_SPANS };
    config.drain.delay.max(LAST_CALL) + LAST_CALL + config.drain.timeout + rows + spans + LAST_TASKS * 2
}

/// The keys, where they are asked for. A server that more than this machine can reach must have one that can be used.
fn open_keys(config: &Config, metrics: &Arc<Metrics>) -> Result<Option<Arc<KeyStore>>, KeysError> {
    let Some(path) = config.auth.keys() else { return Ok(None) };
    let keys = KeyStore::open(path, &config.rate_limit, Arc::clone(metrics))?;
    if !config.server.is_local() && keys.set().usable(Timestamp::now()) == 0 {
        return Err(KeysError::NoUsableKey { path: path.to_owned() });
    }
    Ok(Some(keys))
}

/// The way to the model workers.
fn open_queue(config: &Config, metrics: &Arc<Metrics>) -> anyhow::Result<Arc<Queue>> {
    let broker = Broker::new(&config.queue, &config.redis, Arc::clone(metrics))?;
    Ok(Arc::new(Queue::new(Arc::new(broker), config.runtime.max_queue_wait)))
}
