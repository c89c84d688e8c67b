//! `glassbox worker`

use std::{
    convert::Infallible,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use tokio::sync::oneshot;

use crate::{
    app::ModelWorker,
    config::{Config, Flag},
    lifecycle::{ReloadSignal, reload_signal, stop_signals},
    registry::{Registry, State},
    telemetry::logging::{self, Log},
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
    let mut log = Some(logging::init(&config.telemetry)?);
    let runtime = super::runtime()?;
    let result = runtime.block_on(async {
        let (mut signals, reloads) = (stop_signals()?, reload_signal()?);
        let worker = ModelWorker::build(config)?;
        if let Some(dropped) = log.as_ref().and_then(Log::dropped) {
            worker.state().metrics.server.follow_log(dropped);
        }
        tracing::info!(addr = %worker.addr(), "listening");
        // Sessions must not be taken down while the process ends: the library takes itself down then.
        std::mem::forget(Arc::clone(&worker.state().registry));
        let (stop, stopped) = oneshot::channel::<()>();
        let watch = async move {
            let signal = signals.first().await;
            tracing::info!(signal, "stop requested");
            let _ = stop.send(());
            signals.second().await
        };
        let ready = move |registry: &Registry| announce(registry, started.elapsed());
        tokio::select! {
            result = worker.run(async { drop(stopped.await) }, ready) => result,
            never = ignore(reloads) => match never {},
            signal = watch => {
                tracing::warn!(signal, "second stop signal: stopping at once");
                drop(log.take());
                std::process::exit(1);
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    result.map(|()| ExitCode::SUCCESS)
}

/// There is nothing to read again; without this, the signal would end the process.
async fn ignore(mut signal: ReloadSignal) -> Infallible {
    loop {
        signal.next().await;
        tracing::info!(signal = "SIGHUP", "a worker reads nothing again: start another one to serve other models");
    }
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
