//! The keys that count now: looked up by every request, replaced whole when their file changes.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::{
    KeySet, KeyState, KeysError, Plan, Principal, file,
    secret::KeyText,
    watch::{self, Look},
};
use crate::{
    config::RateLimitConfig,
    lifecycle::Lifecycle,
    telemetry::{
        labels::{Attempt, AuthRejection},
        metrics::Metrics,
    },
};

/// The keys of a file that is followed.
#[derive(Debug)]
pub struct KeyStore {
    path: PathBuf,
    default_plan: Plan,
    set: ArcSwap<KeySet>,
    metrics: Arc<Metrics>,
    /// Held while the file is read, so that no older set replaces a newer one.
    reading: Mutex<Reading>,
}

#[derive(Debug)]
struct Reading {
    watch: watch::Watch,
    /// Why the file is of no use now, as it was logged.
    fault: Option<String>,
    /// Whether the system gave no content at all: it may do so later, without the file having changed.
    again: bool,
}

/// Why the file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// It is another one.
    Change,
    /// The last time, the system would not give it.
    Retry,
    /// Somebody asked for it, and wants an answer in the log.
    Request,
}

/// Why a key lets nobody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Which of the reasons it is.
    pub reason: AuthRejection,
    /// Whose key it is, when its secret was right: somebody has to be told to use another.
    pub key_id: Option<Arc<str>>,
}

impl From<AuthRejection> for Rejected {
    fn from(reason: AuthRejection) -> Self {
        Self { reason, key_id: None }
    }
}

impl KeyStore {
    /// Reads the file at `path`; `limits` are those of keys that name no plan.
    ///
    /// # Errors
    /// Why it cannot be read, or everything that is wrong with it.
    pub fn open(path: &Path, limits: &RateLimitConfig, metrics: Arc<Metrics>) -> Result<Arc<Self>, KeysError> {
        let default_plan = Plan::configured(limits);
        // Before it is read: what changes meanwhile is read again.
        let watch = watch::Watch::begin(path);
        let set = file::read(path, &default_plan)?;
        let nothing = KeySet::new(default_plan.clone());
        let reading = Mutex::new(Reading { watch, fault: None, again: false });
        let store = Self { path: path.to_owned(), default_plan, set: ArcSwap::from_pointee(nothing), metrics, reading };
        store.adopt(set);
        Ok(Arc::new(store))
    }

    /// Who a presented key stands for; `None` is a request without one.
    ///
    /// # Errors
    /// Why it lets nobody in. For metrics and the log only: who tries keys must not learn it.
    pub fn authenticate(&self, presented: Option<&str>) -> Result<Arc<Principal>, Rejected> {
        let presented = KeyText::parse(presented.ok_or(AuthRejection::Missing)?).ok_or(AuthRejection::Malformed)?;
        let set = self.set.load();
        let entry = set.find(&presented)?;
        let reason = match entry.state_now() {
            KeyState::Valid => return Ok(Arc::clone(&entry.principal)),
            KeyState::NotYetValid => AuthRejection::NotYetValid,
            KeyState::Expired => AuthRejection::Expired,
            KeyState::Revoked => AuthRejection::Revoked,
        };
        Err(Rejected { reason, key_id: Some(Arc::clone(&entry.principal.key_id)) })
    }

    /// All keys and plans that count now.
    pub fn set(&self) -> Arc<KeySet> {
        self.set.load_full()
    }

    /// Follows the file in the background. A change counts within a second; a file that is of no use changes nothing.
    pub fn watch(self: &Arc<Self>, lifecycle: &Lifecycle) {
        let store = Arc::clone(self);
        lifecycle.spawn(async move {
            loop {
                tokio::time::sleep(watch::INTERVAL).await;
                store.in_background(Self::look).await;
            }
        });
    }

    /// Reads the file now, changed or not.
    pub async fn reload(self: &Arc<Self>) {
        self.in_background(|store, reading| {
            reading.watch = watch::Watch::begin(&store.path);
            store.read(reading, Occasion::Request);
        })
        .await;
    }

    /// A disk can take its time, and checking ten thousand keys does.
    async fn in_background(self: &Arc<Self>, work: fn(&Self, &mut Reading)) {
        let store = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            work(&store, &mut store.reading.lock().unwrap_or_else(PoisonError::into_inner));
        });
        let _ = done.await;
    }

    fn look(&self, reading: &mut Reading) {
        match reading.watch.look(&self.path) {
            Look::Changed => self.read(reading, Occasion::Change),
            Look::Same if reading.again => self.read(reading, Occasion::Retry),
            Look::Same | Look::Moving => {}
        }
    }

    fn read(&self, reading: &mut Reading, occasion: Occasion) {
        match file::read(&self.path, &self.default_plan) {
            Ok(set) => {
                self.adopt(set);
                (reading.fault, reading.again) = (None, false);
            }
            Err(error) => {
                reading.again = matches!(error, KeysError::Unreadable { .. });
                let fault = error.to_string();
                let new = reading.fault.as_ref() != Some(&fault);
                if new || occasion != Occasion::Retry {
                    self.metrics.callers.keys_loaded(Attempt::Failed);
                }
                if new || occasion == Occasion::Request {
                    tracing::warn!(
                        error = fault,
                        "the keys file is of no use: the keys that were read last still count"
                    );
                }
                reading.fault = Some(fault);
            }
        }
    }

    fn adopt(&self, set: KeySet) {
        let callers = &self.metrics.callers;
        set.entries().iter().for_each(|entry| callers.expect_key(&entry.principal.key_id));
        set.plans().for_each(|plan| callers.expect_plan(&plan.name));
        let (keys, usable, plans) = (set.entries().len(), set.usable(Timestamp::now()), set.plans().count());
        let set = Arc::new(set);
        let old = self.set.swap(Arc::clone(&set));
        let gone = old.entries().iter().filter(|entry| set.get(&entry.principal.key_id).is_none());
        gone.for_each(|entry| callers.forget_key(&entry.principal.key_id));
        let gone = old.plans().filter(|plan| set.plan(&plan.name).is_none());
        gone.for_each(|plan| callers.forget_plan(&plan.name));
        callers.keys_loaded(Attempt::Ok);
        tracing::info!(path = %self.path.display(), keys, usable, plans, "the keys file was read");
    }
}
