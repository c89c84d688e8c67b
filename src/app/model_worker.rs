//! The composition root of a model worker: a registry as a server has it, the queue's other end, and a listener for probes.

use std::{future::Future, net::SocketAddr, sync::Arc};

use super::{
    LAST_SPANS, LAST_TASKS, MINUTE, MOST_PROBES, bound::Bound, connections::Connections, seats::Seats, workers::Workers,
};
use crate::{
    api::{self, ApiState, Limits, Parts},
    cache::Cache,
    config::{CacheConfig, CacheMode, Config, DrainConfig, RateLimitConfig},
    engine::library,
    lifecycle::Lifecycle,
    queue::Broker,
    registry::{Loader, Registry},
    telemetry::{metrics::Metrics, millis, traces::Tracer},
    worker::{self, Worker},
};

/// A model worker, wired and bound, serving nothing yet.
#[derive(Debug)]
pub struct ModelWorker {
    listener: Bound,
    state: ApiState,
    broker: Arc<Broker>,
    drain: DrainConfig,
}

impl ModelWorker {
    /// Binds the socket for probes and builds every part.
    ///
    /// # Errors
    /// When the address cannot be bound, the model repository cannot be read, or ONNX Runtime cannot be loaded.
    pub fn build(config: Config) -> anyhow::Result<Self> {
        let listener = Bound::open(config.queue.worker_listen)?;
        let metrics = Arc::new(Metrics::new()?);
        let registry = Arc::new(Registry::scan(&config.models)?);
        let library = registry.needs_library().then(|| library::load(&config.runtime)).transpose()?;
        let loader = Loader::new(&config.runtime, library, config.predict.max_text_chars, Arc::clone(&metrics));
        let broker = Arc::new(Broker::new(&config.queue, &config.redis, Arc::clone(&metrics))?);
        let lifecycle = Lifecycle::new();
        let tracer = Tracer::new(&config.telemetry, &metrics)?.map(|(tracer, telling)| {
            lifecycle.spawn(telling);
            Arc::new(tracer)
        });
        // What is known is looked up where callers come in, and so are callers looked at.
        let no_cache = CacheConfig { mode: CacheMode::Off, ..config.cache };
        let no_limits = RateLimitConfig { enabled: false, ..config.rate_limit };
        let state = ApiState::new(Parts {
            registry,
            loader: Arc::new(loader),
            cache: Arc::new(Cache::new(&no_cache, &config.redis, Arc::clone(&metrics))?),
            keys: None,
            history: None,
            queue: None,
            broker: Some(Arc::clone(&broker)),
            limits: Limits::new(&no_limits, Arc::clone(&metrics)),
            server: config.server,
            predict: config.predict,
            docs: config.docs,
            public_metrics: true,
            tracer,
            lifecycle,
            metrics,
        });
        Ok(Self { listener, state, broker, drain: config.drain })
    }

    /// Where probes and metrics are answered.
    pub const fn addr(&self) -> SocketAddr {
        self.listener.addr
    }

    /// What the probes look at.
    pub const fn state(&self) -> &ApiState {
        &self.state
    }

    /// Loads the models and works until `stop` resolves; then ends what it holds. `ready` is called once, when every model
    /// has been tried.
    ///
    /// # Errors
    /// When the socket is lost, or the system has no more threads.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        ready: impl FnOnce(&Registry) + Send + 'static,
    ) -> anyhow::Result<()> {
        let Parts { registry, loader, lifecycle, metrics, tracer, .. } = &**self.state;
        self.broker.start(lifecycle, || {});
        let (loading, loader, loads) = (Arc::clone(registry), Arc::clone(loader), lifecycle.clone());
        lifecycle.spawn(async move {
            loading.load_all(&loader, &loads).await;
            ready(&loading);
        });
        let ticking = Arc::clone(metrics);
        lifecycle.spawn(async move {
            loop {
                tokio::time::sleep(MINUTE).await;
                ticking.tick();
            }
        });
        let router = api::probes(self.state.clone(), self.listener.addr);
        let threads = Workers::start(1, || router.clone())?;
        let (server, seats) = (&self.state.server, Seats::new(&self.state.server, Arc::clone(metrics)));
        let seats = seats.at_most(MOST_PROBES);
        let connections = Connections::new(threads, router, seats, server, lifecycle.clone(), metrics);
        let (listener, connections) = (self.listener.listen()?, Arc::new(connections));
        lifecycle.spawn(async move { connections.accept(&listener).await });

        let worker = Worker::new(worker::Parts {
            registry: Arc::clone(registry),
            broker: Arc::clone(&self.broker),
            tracer: tracer.clone(),
            metrics: Arc::clone(metrics),
            lifecycle: lifecycle.clone(),
        });
        tracing::info!(worker = worker.id(), "the worker looks for work");
        let (stopping, timeout) = (lifecycle.clone(), self.drain.timeout);
        let stop = async move {
            stop.await;
            stopping.begin_drain();
            tracing::info!(timeout_ms = millis(timeout), "draining");
        };
        let drained = worker.run(stop, timeout).await;
        if let Some(tracer) = tracer {
            let _ = tokio::time::timeout(LAST_SPANS, tracer.flush()).await;
        }
        lifecycle.stop_now();
        let finished = tokio::time::timeout(LAST_TASKS, lifecycle.finished()).await.is_ok();
        match drained && finished {
            true => tracing::info!("stopped"),
            false => tracing::warn!("stopped with entries still held: drain.timeout passed, and others take them over"),
        }
        Ok(())
    }
}
