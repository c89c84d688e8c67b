//! How the process lives and ends: stop signals, the soft and the hard stop, and every background task.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The one place where tasks are born, so that stopping can wait for all of them.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    draining: Arc<AtomicBool>,
    hard: CancellationToken,
    tasks: TaskTracker,
}

impl Lifecycle {
    /// A lifecycle in which nothing runs yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `task` in the background until it ends by itself or the hard stop comes.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_on(&Handle::current(), task);
    }

    /// The same, on the threads of another runtime.
    pub fn spawn_on(&self, runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        let mut stopped = when_woken(self.hard.clone().cancelled_owned());
        #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
        runtime.spawn(self.tasks.track_future(async move {
            tokio::select! {
                biased;
                () = task => {}
                _ = stopped.next() => {}
            }
        }));
    }

    /// Readiness turns off; the server goes on serving.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the server is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Ends every task at its next await.
    pub fn stop_now(&self) {
        self.hard.cancel();
    }

    /// Whether every task was told to end.
    pub fn is_stopped(&self) -> bool {
        self.hard.is_cancelled()
    }

    /// Waits until every task has ended.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The same future as a stream of one, which is asked again only when it has woken its task. A token of cancellation takes
/// locks that all tasks share whenever it is asked, and a busy connection would ask with every request.
pub fn when_woken<F: Future>(future: F) -> FuturesUnordered<F> {
    FuturesUnordered::from_iter([future])
}

/// Repeated signals within this time are one request to stop: `make` and process groups deliver the same one twice.
const SAME_REQUEST: Duration = Duration::from_millis(300);

/// Installs handlers for SIGTERM and SIGINT.
///
/// # Errors
/// When the system refuses.
pub fn stop_signals() -> std::io::Result<StopSignals> {
    Ok(StopSignals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
}

/// Installed handlers for the signals that ask the process to end.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Waits for the first request to stop and tells its name.
    pub async fn first(&mut self) -> &'static str {
        self.next().await
    }

    /// Waits for a request that somebody repeats on purpose.
    pub async fn second(&mut self) -> &'static str {
        let repeated = async { while !self.next().await.is_empty() {} };
        let _ = tokio::time::timeout(SAME_REQUEST, repeated).await;
        self.next().await
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Installs the handler for SIGHUP, which would end the process otherwise.
///
/// # Errors
/// When the system refuses.
pub fn reload_signal() -> std::io::Result<ReloadSignal> {
    Ok(ReloadSignal(signal(SignalKind::hangup())?))
}

/// The installed handler for the signal that asks for files to be read again.
#[derive(Debug)]
pub struct ReloadSignal(Signal);

impl ReloadSignal {
    /// Waits for the next request to read files again. Several that come at once are one.
    pub async fn next(&mut self) {
        // There is no end of signals, but if there were, nobody would ask any more.
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
