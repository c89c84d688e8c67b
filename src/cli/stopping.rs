//! Stop signals, on a thread of their own: they are heard, and the process ends, whatever the threads do that serve.

use std::{sync::Arc, thread, time::Duration};

use anyhow::Context;
use tokio::{runtime::Builder, sync::oneshot};

use super::{leaving::Exit, supervisor::Supervisor};
use crate::lifecycle::{StopSignals, stop_signals};

/// Hears the signals from now on. The first one resolves what is returned; the second one, or `longest` after the first,
/// ends the process.
///
/// # Errors
/// When the system refuses the handlers or the thread.
pub(super) fn hear(
    supervisor: &Arc<Supervisor>,
    exit: &Exit,
    longest: Duration,
) -> anyhow::Result<oneshot::Receiver<()>> {
    let runtime = Builder::new_current_thread().enable_all().build().context("cannot hear stop signals")?;
    let signals = runtime.block_on(async { stop_signals() }).context("cannot hear stop signals")?;
    let (stop, stopped) = oneshot::channel();
    let (supervisor, exit) = (Arc::clone(supervisor), exit.clone());
    let ending = async move {
        let code = end(signals, stop, &supervisor, longest).await;
        exit.leave(code)
    };
    let hearing = thread::Builder::new().name("glassbox-stop".to_owned());
    hearing.spawn(move || runtime.block_on(ending)).context("cannot start the thread for stop signals")?;
    Ok(stopped)
}

/// Waits until the process has to end, and says with which code.
async fn end(mut signals: StopSignals, stop: oneshot::Sender<()>, supervisor: &Supervisor, longest: Duration) -> u8 {
    let signal = signals.first().await;
    tracing::info!(signal, "stop requested");
    supervisor.stopping();
    let _ = stop.send(());
    tokio::select! {
        signal = signals.second() => {
            tracing::warn!(signal, "second stop signal: stopping at once");
            1
        }
        () = tokio::time::sleep(longest) => {
            tracing::warn!("stopped with work that does not end: drain.timeout and the time for what follows it passed");
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The signal reaches this process alone, which has handlers for it from here on.
    #[test]
    fn the_process_ends_in_time_though_nothing_that_was_told_to_stop_does() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let signals = runtime.block_on(async { stop_signals() }).unwrap();
        let (stop, mut stopped) = oneshot::channel();
        let killed = Command::new("kill").args(["-s", "TERM", &std::process::id().to_string()]).status();
        assert!(killed.unwrap().success());
        let supervisor = Supervisor::find();
        let code = runtime.block_on(end(signals, stop, &supervisor, Duration::from_millis(500)));
        assert_eq!((code, stopped.try_recv()), (0, Ok(())));
    }
}
