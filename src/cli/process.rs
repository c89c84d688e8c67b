//! The process of a server, whatever its role: it logs, tells its service manager how it is, runs until it is told to stop,
//! and stops at once when told twice.

use std::{convert::Infallible, process::ExitCode, sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{healthcheck::Listener, leaving::Exit, stopping, supervisor::Supervisor};
use crate::{
    config::TelemetryConfig,
    lifecycle::{ReloadSignal, reload_signal},
    registry::Registry,
    telemetry::{
        logging::{self, Log},
        metrics::Metrics,
    },
};

/// Resolves when the process was told to stop.
pub(super) type Stop = oneshot::Receiver<()>;

/// A server that has begun.
pub(super) struct Begun<S, R, F> {
    pub registry: Arc<Registry>,
    pub metrics: Arc<Metrics>,
    /// Ends when it has stopped.
    pub serve: S,
    /// Reads again what can change meanwhile.
    pub reload: R,
    /// Where its probes are answered.
    pub itself: Listener,
    /// Connections that ended for want of places so far.
    pub turned_away: F,
}

/// Runs what `begin` begins. Where it does not stop by itself, the process ends `longest` after the stop signal all the same.
pub(super) fn run<S, R, F>(
    telemetry: &TelemetryConfig,
    longest: Duration,
    begin: impl FnOnce(Stop, &Arc<Supervisor>) -> anyhow::Result<Begun<S, R, F>>,
) -> anyhow::Result<ExitCode>
where
    S: Future<Output = anyhow::Result<()>>,
    R: AsyncFn(),
    F: Fn() -> u64,
{
    let log = logging::init(telemetry)?;
    let dropped = Log::dropped(&log);
    let exit = Exit::new(log);
    let runtime = super::runtime()?;
    let supervisor = Arc::new(Supervisor::find());
    let stopped = stopping::hear(&supervisor, &exit, longest)?;
    let result = runtime.block_on(async {
        let reloads = reload_signal()?;
        let Begun { registry, metrics, serve, reload, itself, turned_away } = begin(stopped, &supervisor)?;
        if let Some(dropped) = dropped {
            metrics.server.follow_log(dropped);
        }
        // Sessions are not taken down one by one at the end of a process that is about to go.
        std::mem::forget(registry);
        tokio::select! {
            result = serve => result,
            never = reload_when_asked(reloads, reload, &supervisor) => match never {},
            never = supervisor.watch(itself, turned_away) => match never {},
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    match result {
        Ok(()) => exit.leave(0),
        Err(error) => {
            exit.end_log();
            Err(error)
        }
    }
}

/// At every SIGHUP, which would end the process otherwise.
async fn reload_when_asked(mut signal: ReloadSignal, reload: impl AsyncFn(), supervisor: &Supervisor) -> Infallible {
    loop {
        signal.next().await;
        tracing::info!(signal = "SIGHUP", "reload requested");
        supervisor.reload(reload()).await;
    }
}
