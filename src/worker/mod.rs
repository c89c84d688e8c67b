//! A model worker: it loads models as a server does, and runs what API servers leave in the queue.
//!
//! [`Worker::run`] tells that it lives and what it serves; for each version, a `serving` takes entries whenever there is
//! room for a run, and `group` runs those that were taken together.

mod group;
mod room;
mod serving;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::serving::Serving;
use crate::{
    lifecycle::Lifecycle,
    queue::{Broker, Claims, Life, ModelBeat},
    registry::{Loaded, Registry, Snapshot, State},
    telemetry::{metrics::Metrics, traces::Tracer},
};

/// What a worker is made of.
#[derive(Debug)]
pub struct Parts {
    /// Which models it serves.
    pub registry: Arc<Registry>,
    /// The Redis of the queue.
    pub broker: Arc<Broker>,
    /// Tells a collector of runs, where there is one.
    pub tracer: Option<Arc<Tracer>>,
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
    /// Where its tasks are born.
    pub lifecycle: Lifecycle,
}

/// One worker.
#[derive(Debug)]
pub struct Worker {
    parts: Arc<Parts>,
    life: Life,
    /// Set when it takes no more.
    stopping: CancellationToken,
    /// Held by each version that is served, until it holds nothing more.
    serving: mpsc::Sender<()>,
    ended: mpsc::Receiver<()>,
}

/// What is told with every beat, and when it was put together.
#[derive(Default)]
struct Told {
    of: Option<Arc<Snapshot>>,
    models: BTreeMap<String, ModelBeat>,
    descriptions: BTreeMap<String, String>,
}

impl Worker {
    /// A worker that has not said anything yet.
    pub fn new(parts: Parts) -> Self {
        let life = Life::new(Arc::clone(&parts.broker));
        let (serving, ended) = mpsc::channel(1);
        Self { parts: Arc::new(parts), life, stopping: CancellationToken::new(), serving, ended }
    }

    /// Its id, as it stands in Redis.
    pub fn id(&self) -> &str {
        self.life.id()
    }

    /// Serves until `stop` resolves. Then it takes nothing more, says so, and ends what it holds within `patience`. Returns
    /// whether it could.
    pub async fn run(self, stop: impl Future<Output = ()>, patience: Duration) -> bool {
        tokio::select! {
            () = stop => {}
            never = self.serve() => match never {},
        }
        self.stopping.cancel();
        let Self { parts, life, serving, mut ended, .. } = self;
        drop(serving);
        let (mut models, descriptions) = parts.registry.beat();
        models.values_mut().for_each(ModelBeat::leave);
        let leaving = async {
            loop {
                // It lives as long as it holds something.
                let _ = life.beat(models.clone(), &descriptions).await;
                tokio::time::sleep(life.pause()).await;
            }
        };
        let done = tokio::select! {
            done = tokio::time::timeout(patience, ended.recv()) => done.is_ok(),
            () = leaving => false,
        };
        life.end().await;
        done
    }

    async fn serve(&self) -> std::convert::Infallible {
        self.parts.broker.connected().await;
        let (mut told, mut served, mut silent) = (Told::default(), BTreeSet::new(), false);
        loop {
            let snapshot = self.parts.registry.snapshot();
            if !told.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &snapshot)) {
                let (models, descriptions) = self.parts.registry.beat();
                for loaded in ready(&snapshot) {
                    // One that is loaded anew from the same files goes on as it is.
                    if served.insert(loaded.fingerprint.to_string()) {
                        self.begin(loaded);
                    }
                }
                told = Told { of: Some(snapshot), models, descriptions };
            }
            match self.life.beat(told.models.clone(), &told.descriptions).await {
                Ok(()) if silent => {
                    silent = false;
                    tracing::info!("the worker is heard again");
                }
                Ok(()) => {}
                Err(trouble) if !silent => {
                    silent = true;
                    tracing::warn!(reason = %trouble, "the worker cannot say that it lives");
                }
                Err(_) => {}
            }
            tokio::time::sleep(self.life.pause()).await;
        }
    }

    /// Begins to take entries of a version.
    fn begin(&self, loaded: &Arc<Loaded>) {
        let (model, fingerprint) = (loaded.model.id().name.as_str(), loaded.fingerprint.to_string());
        let claims = Claims::new(Arc::clone(&self.parts.broker), self.life.id(), model, &fingerprint);
        let serving = Serving::new(Arc::clone(&self.parts), Arc::clone(loaded), claims, self.stopping.clone());
        let held = self.serving.clone();
        self.parts.lifecycle.spawn(async move {
            serving.run().await;
            drop(held);
        });
    }
}

fn ready(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Loaded>> {
    snapshot.models.values().flat_map(|entry| entry.versions.values()).filter_map(|state| match state {
        State::Ready(loaded) => Some(loaded),
        _ => None,
    })
}
