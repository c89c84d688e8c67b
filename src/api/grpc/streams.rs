//! Calls that go on for as long as their caller likes: how many there may be, and the health that all watchers share.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::response::Response;
use tokio::sync::watch;
use tonic::{Code, Status};

use super::status;
use crate::api::{
    health,
    ledger::{Ledger, Share},
    state::ApiState,
};

/// Watchers in all, and of one address. A client has one per connection, as a rule.
const MAX_WATCHERS: u64 = 4096;
const MAX_WATCHERS_PER_ADDRESS: u64 = 256;

/// Streams of reflection in all, and of one address: they are people's tools.
const MAX_REFLECTIONS: u64 = 512;
const MAX_REFLECTIONS_PER_ADDRESS: u64 = 32;

/// How often it is looked whether the health has changed.
const TICK: Duration = Duration::from_millis(200);

/// All of them.
#[derive(Debug)]
pub(in crate::api) struct Streams {
    pub watchers: Arc<Ledger>,
    pub reflections: Arc<Ledger>,
    /// None while nobody watches.
    health: Mutex<Option<watch::Receiver<Health>>>,
}

/// What watchers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Health {
    pub ready: bool,
    pub draining: bool,
}

impl Streams {
    pub(in crate::api) fn new() -> Self {
        Self {
            watchers: Ledger::new(MAX_WATCHERS, MAX_WATCHERS_PER_ADDRESS),
            reflections: Ledger::new(MAX_REFLECTIONS, MAX_REFLECTIONS_PER_ADDRESS),
            health: Mutex::default(),
        }
    }

    fn health(&self) -> MutexGuard<'_, Option<watch::Receiver<Health>>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Health {
    fn of(state: &ApiState) -> Self {
        Self { ready: health::is_ready(state), draining: state.lifecycle.is_draining() }
    }

    /// The health now, and whenever it changes. One task looks, for all who watch.
    pub(super) fn watch(state: &ApiState) -> watch::Receiver<Self> {
        let mut watched = state.streams.health();
        if let Some(watched) = watched.as_ref().filter(|watched| watched.has_changed().is_ok()) {
            return watched.clone();
        }
        let (told, health) = watch::channel(Self::of(state));
        *watched = Some(health.clone());
        drop(watched);
        state.lifecycle.spawn(look(state.clone(), told));
        health
    }
}

/// Looks until nobody watches, or until the server drains: that is the last thing that watchers are told.
async fn look(state: ApiState, told: watch::Sender<Health>) {
    loop {
        let now = Health::of(&state);
        told.send_if_modified(|health| std::mem::replace(health, now) != now);
        if now.draining {
            return;
        }
        tokio::time::sleep(TICK).await;
        let mut watched = state.streams.health();
        // The one that is kept for those to come.
        if told.receiver_count() <= 1 {
            *watched = None;
            return;
        }
    }
}

/// The place of one stream; none where its caller, or all of them, have too many.
pub(super) fn place(ledger: &Arc<Ledger>, client: Option<IpAddr>) -> Option<Share> {
    ledger.take(client, 1)
}

/// The answer to a caller for whom there is no place.
pub(super) fn full() -> Response {
    status::alone(&Status::new(Code::ResourceExhausted, "there are too many streams of this kind already"))
}
