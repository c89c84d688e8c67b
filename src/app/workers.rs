//! The threads that hold connections. Each has a runtime of its own: a connection stays where it is, and with it all that
//! its requests touch. One runtime over all threads wakes a second thread to help with what the first has nearly done,
//! and the two take turns at every lock and counter; that took a quarter of a short request's time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use axum::Router;
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::telemetry::threads;

/// Threads that may block, per worker: for large bodies and answers, and for texts.
const BLOCKING_THREADS: usize = 32;

/// How long blocking work may go on after the last connection has ended.
const LAST_WORK: Duration = Duration::from_millis(100);

/// All of them; their threads end when this is dropped.
#[derive(Debug)]
pub(super) struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    router: Router,
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    /// Dropped, it ends the thread.
    _stop: oneshot::Sender<()>,
}

impl Workers {
    /// Starts `count` threads, one at least. Each has its own of what `router` makes.
    ///
    /// # Errors
    /// When the system has no threads or descriptors for them.
    pub(super) fn start(count: usize, router: impl Fn() -> Router) -> anyhow::Result<Self> {
        (0..count.max(1))
            .map(|number| Worker::start(number, router()).context("cannot start an async thread"))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// What they run on.
    pub(super) fn runtimes(&self) -> impl Iterator<Item = Handle> {
        self.0.iter().map(|worker| worker.runtime.clone())
    }

    /// A place on the thread with the fewest connections.
    pub(super) fn place(&self) -> Option<Place> {
        let fewest = self.0.iter().min_by_key(|worker| worker.connections.load(Ordering::Relaxed))?;
        fewest.connections.fetch_add(1, Ordering::Relaxed);
        let (router, runtime) = (fewest.router.clone(), fewest.runtime.clone());
        Some(Place { router, runtime, connections: Arc::clone(&fewest.connections) })
    }
}

impl Worker {
    fn start(number: usize, router: Router) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("glassbox-work")
            .max_blocking_threads(BLOCKING_THREADS)
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("glassbox-io".to_owned()).spawn(move || {
            threads::number_this(number);
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(LAST_WORK);
        })?;
        Ok(Self { router, runtime: handle, connections: Arc::default(), _stop: stop })
    }
}

/// One connection's place on a thread, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub router: Router,
    pub runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_where_the_fewest_are() {
        let workers = Workers::start(3, Router::new).unwrap();
        let mut places: Vec<Place> = (0..9).map(|_| workers.place().unwrap()).collect();
        let counts = || workers.0.iter().map(|worker| worker.connections.load(Ordering::Relaxed)).collect::<Vec<_>>();
        assert_eq!(counts(), [3, 3, 3]);
        // Every third is on the same thread.
        drop((places.remove(6), places.remove(3), places.remove(0)));
        assert_eq!(counts(), [0, 3, 3]);
        places.extend((0..3).map(|_| workers.place().unwrap()));
        assert_eq!(counts(), [3, 3, 3]);
    }
}
