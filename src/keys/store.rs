//! The keys that count now: looked up by every request, replaced whole when their file changes.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::{
    KeySet, KeyState, KeysError, Plan, Principal,
    file::{self, Content, Ending},
    secret::KeyText,
    trust::{self, Verdict},
    watch::{self, Look},
};
use crate::{
    config::RateLimitConfig,
    lifecycle::Lifecycle,
    telemetry::{
        labels::{Attempt, AuthRejection},
        metrics::Metrics,
        millis,
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
    /// How the file ended whose keys count.
    ending: Ending,
    /// A reading that may be of half a file.
    doubt: Option<Doubt>,
}

/// What was read of a file that may not be complete.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    content: u64,
    /// When it counts all the same.
    until: Instant,
}

/// Why the file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// It is another one.
    Change,
    /// The last time, the system would not give it, or it may not have been complete.
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
        let Content { set, ending, .. } = file::content(path, &default_plan)?;
        let nothing = KeySet::new(default_plan.clone());
        let reading = Mutex::new(Reading { watch, fault: None, again: false, ending, doubt: None });
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
            Look::Same if reading.again || reading.doubt.is_some_and(|doubt| doubt.until <= Instant::now()) => {
                self.read(reading, Occasion::Retry);
            }
            Look::Same | Look::Moving => {}
        }
    }

    fn read(&self, reading: &mut Reading, occasion: Occasion) {
        match self.judged(reading) {
            Ok((content, Verdict::Doubted(rest))) if occasion != Occasion::Request => {
                reading.again = false;
                if reading.doubt.is_some_and(|doubt| doubt.content == content.hash && doubt.until <= Instant::now()) {
                    return self.take(reading, content);
                }
                if reading.doubt.is_none_or(|doubt| doubt.content != content.hash) {
                    reading.doubt = Some(Doubt { content: content.hash, until: Instant::now() + rest });
                    let rest_ms = millis(rest);
                    tracing::info!(rest_ms, "the keys file may not be complete yet: it counts when it stays as it is");
                }
            }
            Ok((content, _)) => self.take(reading, content),
            Err(error) => {
                reading.doubt = None;
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

    /// Reads the file, and judges whether its keys may take the place of those that count now.
    fn judged(&self, reading: &Reading) -> Result<(Content, Verdict), KeysError> {
        let content = file::content(&self.path, &self.default_plan)?;
        let old = self.set.load();
        let verdict = trust::judge(&old, reading.ending, &content, Timestamp::now());
        if verdict != Verdict::Taken {
            // A key that was taken back is refused at once, whatever is missing beside it.
            self.set.store(Arc::new(old.with_revocations_of(&content.set)));
        }
        match verdict {
            Verdict::LocksOut => Err(KeysError::LocksOut { path: self.path.clone() }),
            Verdict::Taken | Verdict::Doubted(_) => Ok((content, verdict)),
        }
    }

    fn take(&self, reading: &mut Reading, content: Content) {
        (reading.fault, reading.again, reading.doubt) = (None, false, None);
        reading.ending = content.ending;
        self.adopt(content.set);
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
