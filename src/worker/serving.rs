//! One version in one worker: takes entries while there is room, keeps them its own, and takes over those of the dead.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{Parts, group, room::Room};
use crate::{
    error::Error,
    link::{Connection, Trouble},
    queue::{Answer, Claimed, Claims, Taken, Wanted},
    registry::Loaded,
};

/// Before another try to connect.
const PAUSE: Duration = Duration::from_millis(100);

/// Between two looks whether everything that was held is done.
const GLANCE: Duration = Duration::from_millis(5);

/// Takes and runs entries of one version.
#[derive(Debug)]
pub(super) struct Serving {
    pub parts: Arc<Parts>,
    pub loaded: Arc<Loaded>,
    pub claims: Claims,
    room: Room,
    /// What is held, each with what tells that its caller has left.
    held: Mutex<HashMap<String, CancellationToken>>,
    stopping: CancellationToken,
}

/// Entries that are held, for as long as this is.
pub(super) struct Held<'a> {
    serving: &'a Serving,
    pub entries: Vec<(Claimed, CancellationToken)>,
    rows: usize,
    /// How long they ran.
    pub ran: Option<Duration>,
}

impl Serving {
    pub(super) fn new(
        parts: Arc<Parts>,
        loaded: Arc<Loaded>,
        claims: Claims,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        let room = Room::new(loaded.instances, loaded.max_batch_size.unwrap_or(1));
        Arc::new(Self { parts, loaded, claims, room, held: Mutex::default(), stopping })
    }

    /// Goes on until the worker stops and everything that was held is done.
    pub(super) async fn run(self: Arc<Self>) {
        self.claims.tidy().await;
        // Neither is given up in the middle: what Redis gave out by then must be run.
        let taking = async { tokio::join!(self.take(), self.take_over()) };
        tokio::select! {
            ((), ()) = taking => {}
            () = self.keep() => {}
        }
        let done = async {
            while !self.held().is_empty() {
                tokio::time::sleep(GLANCE).await;
            }
        };
        tokio::select! {
            () = done => {}
            () = self.keep() => {}
        }
        self.claims.leave().await;
    }

    /// Takes entries until the worker stops, over a connection of its own.
    async fn take(self: &Arc<Self>) {
        while !self.stopping.is_cancelled() {
            if let Ok((connection, driver)) = self.claims.connect().await {
                tokio::select! {
                    () = driver => {}
                    taken = self.take_from(&connection) => if taken.is_ok() { return },
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn take_from(self: &Arc<Self>, connection: &Connection) -> Result<(), Trouble> {
        loop {
            let room = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Ok(()),
                room = self.room.free() => room,
            };
            let claimed = self.claims.take(connection, room).await?;
            for group in group::divide(claimed, self.loaded.max_batch_size) {
                self.begin(group);
            }
        }
    }

    /// Runs a group of entries in the background.
    fn begin(self: &Arc<Self>, group: Vec<Claimed>) {
        self.hold(&group);
        let serving = Arc::clone(self);
        self.parts.lifecycle.spawn(async move { group::run(serving.entries(group)).await });
    }

    /// Takes over what the dead held, one after the other and each alone: one of them may be what killed them.
    async fn take_over(self: &Arc<Self>) {
        let pause = self.claims.patience() / 4;
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            while let Ok(taken) = self.claims.take_over().await {
                match taken {
                    Taken::Nothing => break,
                    Taken::Gone => {}
                    // It was only late to say that it works on it.
                    Taken::Entry(claimed) if self.held().contains_key(&claimed.id) => {}
                    Taken::Entry(claimed) => {
                        let id = claimed.id.clone();
                        self.begin(vec![*claimed]);
                        while self.held().contains_key(&id) {
                            tokio::time::sleep(GLANCE).await;
                        }
                    }
                    Taken::Dead(claimed) => self.give_up(&claimed).await,
                }
                if self.stopping.is_cancelled() {
                    return;
                }
            }
        }
    }

    async fn give_up(&self, claimed: &Claimed) {
        let (model, entry) = (self.loaded.model.id().to_string(), &claimed.id);
        tracing::error!(model, entry, "an entry was given up: every worker that took it fell silent");
        let items = match &claimed.entry.wanted {
            Wanted::Predictions(items) => Some(items.len()),
            Wanted::Tokens(_) => None,
        };
        let error = Error::internal(anyhow::anyhow!("every worker that took this request fell silent"));
        self.claims.answer(claimed, &Answer::failed(items, &error)).await;
    }

    /// Says again and again that what is held is worked on, and learns who has left.
    async fn keep(&self) {
        loop {
            tokio::time::sleep(self.claims.renewal()).await;
            let ids: Vec<String> = self.held().keys().cloned().collect();
            if ids.is_empty() {
                continue;
            }
            for left in self.claims.keep(&ids).await.unwrap_or_default() {
                if let Some(cancel) = self.held().get(&left) {
                    cancel.cancel();
                }
            }
        }
    }

    fn hold(&self, group: &[Claimed]) {
        let mut held = self.held();
        for claimed in group {
            held.insert(claimed.id.clone(), CancellationToken::new());
            self.room.take(claimed.entry.rows());
        }
        self.parts.metrics.queue.held(self.loaded.model.id().name.as_str(), held.len());
    }

    /// The entries of `group` with what tells that their callers have left.
    fn entries(&self, group: Vec<Claimed>) -> Held<'_> {
        let held = self.held();
        let rows = group.iter().map(|claimed| claimed.entry.rows()).sum();
        let token = |claimed: &Claimed| held.get(&claimed.id).cloned().unwrap_or_default();
        let entries = group.into_iter().map(|claimed| (token(&claimed), claimed));
        Held { serving: self, entries: entries.map(|(token, claimed)| (claimed, token)).collect(), rows, ran: None }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Held<'a> {
    /// Whose they are.
    pub(super) const fn serving(&self) -> &'a Serving {
        self.serving
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut held = self.serving.held();
        for (claimed, _) in &self.entries {
            held.remove(&claimed.id);
        }
        self.serving.parts.metrics.queue.held(self.serving.loaded.model.id().name.as_str(), held.len());
        drop(held);
        self.serving.room.give_back(self.rows, self.ran);
    }
}
