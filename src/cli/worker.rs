//! `glassbox worker`

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;

use super::{
    healthcheck::Listener,
    process::{self, Begun},
};
use crate::{
    app::{self, ModelWorker},
    config::{Config, Flag},
    registry::{Registry, State},
};

#[derive(Debug, Args)]
pub(super) struct WorkerArgs {
    /// Serve this ONNX file instead of the repository; repeatable.
    #[arg(long, value_name = "FILE")]
    model: Vec<PathBuf>,
    /// Answer probes here instead of on queue.worker_listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

impl WorkerArgs {
    pub(super) fn flags(&self) -> Vec<Flag> {
        let mut flags = match &self.model[..] {
            [] => Vec::new(),
            files => super::files_instead_of_repository(files),
        };
        flags.extend(self.listen.iter().map(|listen| Flag::text("queue.worker_listen", "--listen", listen.clone())));
        flags
    }
}

pub(super) fn run(config: Config) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let telemetry = config.telemetry.clone();
    process::run(&telemetry, app::longest_stop(&config), |stop, supervisor| {
        let worker = ModelWorker::build(config)?;
        tracing::info!(addr = %worker.addr(), "listening");
        let (registry, metrics) = (Arc::clone(&worker.state().registry), Arc::clone(&worker.state().metrics));
        let probes = Arc::clone(&metrics);
        let turned_away = move || probes.http.turned_away();
        let (itself, supervisor) = (Listener::at(worker.addr(), false), Arc::clone(supervisor));
        let ready = move |registry: &Registry| {
            supervisor.ready(registry);
            announce(registry, started.elapsed());
        };
        let serve = worker.run(async { drop(stop.await) }, ready);
        let reload = async || tracing::info!("a worker reads nothing again: start another one to serve other models");
        Ok(Begun { registry, metrics, serve, reload, itself, turned_away })
    })
}

/// Says what is served, and how long that took.
fn announce(registry: &Registry, elapsed: Duration) {
    let snapshot = registry.snapshot();
    let is_served = |state: &State| matches!(state, State::Ready(_));
    let served = snapshot.models.iter().filter(|(_, entry)| entry.versions.values().any(is_served));
    let models = served.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(models, elapsed_ms, version = env!("CARGO_PKG_VERSION"), "ready");
}
