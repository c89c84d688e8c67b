//! What the handlers share. Built in `app.rs`.

use std::{ops::Deref, sync::Arc, time::Instant};

use super::{
    browsers::Browsers,
    deliver::Unread,
    grpc::Streams,
    rate_limit::Limits,
    renderings::Renderings,
    room::Space,
    routes::{Access, Counts},
    v1,
};
use crate::{
    cache::Cache,
    config::{DocsConfig, PredictConfig, ServerConfig},
    history::History,
    keys::{KeyStore, Scope},
    lifecycle::Lifecycle,
    predict::Predictor,
    queue::{Broker, Queue},
    registry::{Loader, Registry},
    telemetry::{metrics::Metrics, recorder::Recorder, traces::Tracer},
};

/// What is asked all the time, and by nobody who waits for it.
pub(super) const PROBES: [&str; 8] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/v2/health/live",
    "/v2/health/ready",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/grpc.health.v1.Health/Check",
];

/// What is asked every second or two for as long as somebody looks after the server. That it was answered is of no interest,
/// and would stand among the slowest requests and in the log where callers are looked for.
const LOOKS: [&str; 4] = ["/console", "/console/{file}", "/v1/debug/requests", "/v1/stats"];

/// Whether a route is for those who look after the server, not for its callers.
pub(super) fn is_operators(route: &str) -> bool {
    PROBES.contains(&route) || LOOKS.contains(&route)
}

/// What the handlers share. One pointer: every layer of every request holds a clone of it, and so counts one reference
/// instead of one per part. See [`apart`](Self::apart) for the second one.
#[derive(Debug, Clone)]
pub struct ApiState(Arc<Apart>);

/// Alone on its cache line, and on the one that is fetched with it.
#[derive(Debug)]
#[repr(align(128))]
struct Apart(Arc<Shared>);

/// The parts of the server, and what the entrance adds to them.
#[derive(Debug)]
pub struct Shared {
    parts: Parts,
    /// The one path to a prediction.
    pub predictor: Predictor,
    /// Room for the bytes of requests and answers.
    pub(super) space: Space,
    /// Room for exports of the history.
    pub(super) exports: Space,
    /// What answers hold that wait to be taken, those in `space` apart.
    pub(super) unread: Unread,
    /// Calls of gRPC that go on for as long as they like.
    pub(super) streams: Streams,
    /// Answers that all callers share.
    pub(super) renderings: Renderings,
    /// What requests are counted by.
    pub(super) counts: Counts,
    /// The requests that are worth a second look.
    pub(super) recorder: Recorder,
    /// What browsers are told.
    pub(super) browsers: Browsers,
    /// When the process began to serve.
    pub started: Instant,
}

/// The parts of the server that handlers reach.
#[derive(Debug)]
pub struct Parts {
    /// Which models are live.
    pub registry: Arc<Registry>,
    /// Loads them.
    pub loader: Arc<Loader>,
    /// Who may call; anyone when absent.
    pub keys: Option<Arc<KeyStore>>,
    /// Known answers.
    pub cache: Arc<Cache>,
    /// What was predicted; nothing where it is not kept.
    pub history: Option<Arc<History>>,
    /// To the model workers; nothing where models are run here.
    pub queue: Option<Arc<Queue>>,
    /// The Redis that requests go through, where they do.
    pub broker: Option<Arc<Broker>>,
    /// How often callers may call; as often as they like when absent.
    pub limits: Option<Arc<Limits>>,
    /// Whether the server is about to stop.
    pub lifecycle: Lifecycle,
    /// Timeouts and limits of HTTP.
    pub server: ServerConfig,
    /// Limits of one prediction.
    pub predict: PredictConfig,
    /// Whether there are pages for people.
    pub docs: DocsConfig,
    /// Whether `/metrics` is answered without a key.
    pub public_metrics: bool,
    /// Tells a collector of requests, where there is one.
    pub tracer: Option<Arc<Tracer>>,
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
}

impl ApiState {
    /// Puts together what the handlers need.
    pub fn new(parts: Parts) -> Self {
        let routes = super::routes(Some(Access::Public));
        Self(Arc::new(Apart(Arc::new(Shared {
            predictor: Predictor::new(
                Arc::clone(&parts.registry),
                Arc::clone(&parts.cache),
                parts.history.clone(),
                parts.queue.clone(),
                Arc::clone(&parts.metrics),
            ),
            space: Space::for_bodies(&parts.server),
            exports: Space::for_exports(v1::EXPORTS_AT_ONCE, v1::MAX_EXPORT_BYTES),
            unread: Unread::new(),
            streams: Streams::new(),
            renderings: Renderings::new(),
            counts: Counts::of(&routes, &parts.metrics.http),
            recorder: Recorder::new(routes.iter().map(|route| route.path).filter(|path| !is_operators(path))),
            browsers: Browsers::new(&parts.server),
            parts,
            started: Instant::now(),
        }))))
    }

    /// The same, whose clones are counted elsewhere: for a thread that makes many.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self(Arc::new(Apart(Arc::clone(&self.0.0))))
    }
}

impl Deref for ApiState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0.0
    }
}

impl Parts {
    /// Who may read the metrics here; `None` when they have a listener of their own.
    pub(super) fn metrics_access(&self) -> Option<Access> {
        let access = if self.public_metrics { Access::Public } else { Access::Key(Scope::Metrics) };
        self.server.metrics_listen.is_none().then_some(access)
    }
}

impl Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}
