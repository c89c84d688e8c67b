//! The process of a server, whatever its role: it logs, tells its service manager how it is, runs until it is told to stop,
//! and stops at once when told twice.

use std::{convert::Infallible, process::ExitCode, sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{healthcheck::Listener, supervisor::Supervisor};
use crate::{
    config::TelemetryConfig,
    lifecycle::{ReloadSignal, reload_signal, stop_signals},
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
    /// Whether nobody else is let in there at the moment.
    pub is_full: F,
}

/// Runs what `begin` begins.
pub(super) fn run<S, R, F>(
    telemetry: &TelemetryConfig,
    begin: impl FnOnce(Stop, &Arc<Supervisor>) -> anyhow::Result<Begun<S, R, F>>,
) -> anyhow::Result<ExitCode>
where
    S: Future<Output = anyhow::Result<()>>,
    R: AsyncFn(),
    F: Fn() -> bool,
{
    let mut log = Some(logging::init(telemetry)?);
    let runtime = super::runtime()?;
    let supervisor = Arc::new(Supervisor::find());
    let result = runtime.block_on(async {
        let (mut signals, reloads) = (stop_signals()?, reload_signal()?);
        let (stop, stopped) = oneshot::channel();
        let Begun { registry, metrics, serve, reload, itself, is_full } = begin(stopped, &supervisor)?;
        if let Some(dropped) = log.as_ref().and_then(Log::dropped) {
            metrics.server.follow_log(dropped);
        }
        // Sessions must not be taken down while the process ends: the library takes itself down then.
        std::mem::forget(registry);
        let watch = async {
            let signal = signals.first().await;
            tracing::info!(signal, "stop requested");
            supervisor.stopping();
            let _ = stop.send(());
            signals.second().await
        };
        tokio::select! {
            result = serve => result,
            never = reload_when_asked(reloads, reload, &supervisor) => match never {},
            never = supervisor.watch(itself, is_full) => match never {},
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

/// At every SIGHUP, which would end the process otherwise.
async fn reload_when_asked(mut signal: ReloadSignal, reload: impl AsyncFn(), supervisor: &Supervisor) -> Infallible {
    loop {
        signal.next().await;
        tracing::info!(signal = "SIGHUP", "reload requested");
        supervisor.reload(reload()).await;
    }
}
