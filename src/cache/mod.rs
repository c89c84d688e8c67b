//! Known answers: memory, then the flights of others, then Redis, and only then the model.
//!
//! [`Cache::fetch`] is the one verb, for one item as for many. What is found is not run again, equal items are run once,
//! whoever asks for them, and the rest goes to the model as one batch. Nothing here can fail a prediction: a tier that is
//! away, or holds something that cannot be believed, is a miss.

mod breaker;
mod distinct;
mod flights;
mod key;
mod link;
mod memory;
mod policy;
mod redis;
mod remote;
mod stored;
mod summary;
mod tiers;

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join, join_all},
};

use self::{
    distinct::Distinct,
    flights::{Flights, Joined},
    tiers::{Tiers, run, unanswered},
};
pub use self::{
    key::{Fingerprint, Key},
    policy::Policy,
    stored::Stored,
    summary::Summary,
};
use crate::{
    config::{CacheConfig, RedisConfig},
    error::Error,
    lifecycle::Lifecycle,
    model::{Prediction, conform::Item},
    telemetry::{
        labels::{Source, Stage},
        metrics::Metrics,
        record::Record,
    },
};

/// Runs items on their model: one result per item, in order.
pub type Compute = Arc<dyn Fn(Vec<Item>) -> BoxFuture<'static, Vec<Result<Prediction, Error>>> + Send + Sync>;

/// What a request asks.
#[derive(Debug)]
pub struct Question<'a> {
    /// The version's; none when its model wants no answer to be shared.
    pub fingerprint: Option<&'a Fingerprint>,
    /// What is to be predicted.
    pub items: Vec<Item>,
    /// What the caller allows.
    pub policy: Policy,
    /// Learns how long looking and waiting took.
    pub record: &'a Record,
}

/// An answer, and where it came from.
#[derive(Debug, Clone)]
pub struct Found {
    /// The answer.
    pub stored: Stored,
    /// Where it came from.
    pub source: Source,
    /// Whether it was kept by this request.
    pub kept: bool,
}

/// Known answers, in the tiers that the configuration names.
#[derive(Debug)]
pub struct Cache {
    tiers: Arc<Tiers>,
    flights: Flights,
    ttl: Duration,
}

impl Cache {
    /// A cache that is empty, and not yet connected to anything: see [`start`](Self::start).
    ///
    /// # Errors
    /// When Redis is to be used, and its URL is none.
    pub fn new(config: &CacheConfig, redis: &RedisConfig, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let tiers = Tiers::new(config, redis, metrics)?;
        Ok(Self { tiers: Arc::new(tiers), flights: Flights::default(), ttl: config.ttl })
    }

    /// Begins what goes on in the background.
    pub fn start(&self, lifecycle: &Lifecycle) {
        self.tiers.start(lifecycle);
    }

    /// Why Redis is left alone, or not written to, when it is.
    pub fn trouble(&self) -> Option<String> {
        self.tiers.trouble().map(|trouble| trouble.to_string())
    }

    /// Brings the gauges up to date.
    pub fn observe(&self) {
        self.tiers.observe();
    }

    /// What the answers to a request have in common; nothing when there is no cache.
    pub fn summary<'a>(&self, bypassed: bool, found: impl Iterator<Item = &'a Found>) -> Option<Summary> {
        self.tiers.first().map(|tier| Summary::new(tier, bypassed, self.ttl, found))
    }

    /// One answer per item, in order: a known one, the one that another request waits for, or a new one. All that is new
    /// is computed by one call of `compute`, which goes on without this caller as long as another waits for it.
    pub async fn fetch(&self, question: Question<'_>, compute: Compute) -> Vec<Result<Found, Error>> {
        let Question { fingerprint, items, policy, record } = question;
        let off = self.tiers.first().is_none();
        let bypassed = off || fingerprint.is_none() || !policy.looks_up();
        if bypassed {
            self.tiers.count_bypass(items.len());
            if policy.only_if_cached {
                return items.iter().map(|_| Err(Error::NotCached)).collect();
            }
        }
        let alone = off && items.len() == 1;
        let Some(fingerprint) = fingerprint.filter(|_| !alone) else { return run(items, &compute).await };
        let watch = record.watch(Stage::Cache);
        let distinct = Distinct::new(fingerprint, items).await;
        drop(watch);
        let found = match bypassed {
            true => self.tiers.run_and_keep(distinct.slots, !policy.no_store, &compute).await,
            false => self.look_up(distinct.slots, &policy, record, &compute).await,
        };
        let found = distinct::spread(&found, &distinct.slot_of);
        self.tiers.count_saved(found.iter().flatten());
        found
    }

    async fn look_up(
        &self,
        slots: Vec<(Key, Item)>,
        policy: &Policy,
        record: &Record,
        compute: &Compute,
    ) -> Vec<Result<Found, Error>> {
        let max_age = policy.max_age.unwrap_or(Duration::MAX);
        let (keys, mut items): (Vec<Key>, Vec<_>) = slots.into_iter().map(|(key, item)| (key, Some(item))).unzip();
        let mut found: Vec<Option<Result<Found, Error>>> = vec![None; keys.len()];
        let mut first_round = true;
        loop {
            let watch = record.watch(Stage::Cache);
            self.tiers.recall(&keys, &mut found, max_age, first_round);
            let open: Vec<usize> = (0..keys.len()).filter(|slot| found[*slot].is_none()).collect();
            let wanted: Vec<Key> = open.iter().map(|slot| keys[*slot]).collect();
            if wanted.is_empty() {
                break;
            }
            if policy.only_if_cached {
                self.tiers.count_joined(wanted.len(), 0);
                let known = self.tiers.ask_remote(&wanted, max_age).await;
                for (slot, known) in open.into_iter().zip(known) {
                    found[slot] = Some(known.ok_or(Error::NotCached));
                }
                break;
            }
            let Joined { led, own, others } = self.flights.join(&wanted, |led| {
                let take = |index: &usize| items[open[*index]].take().map(|item| (wanted[*index], item));
                let batch = led.iter().filter_map(take).collect();
                let (tiers, compute, record) = (Arc::clone(&self.tiers), Arc::clone(compute), record.clone());
                async move { tiers.fly(batch, max_age, &record, &compute).await }.boxed()
            });
            if first_round {
                self.tiers.count_joined(led.len(), wanted.len() - led.len());
            }
            drop(watch);
            first_round = false;

            let mut waiting = own.is_none().then(|| record.watch(Stage::Cache));
            let own = async {
                let landed = own?.await;
                // From here on, only others are waited for.
                waiting = Some(record.watch(Stage::Cache));
                Some(landed)
            };
            let others = others.into_iter().map(|(flight, pairs)| async { (flight.await, pairs) });
            let (own, others) = join(own, join_all(others)).await;
            drop(waiting);
            for (index, result) in led.into_iter().zip(own.iter().flat_map(|landed| landed.iter())) {
                found[open[index]] = Some(result.clone());
            }
            for (landed, pairs) in others {
                for (index, position) in pairs {
                    found[open[index]] = landed.get(position).and_then(|result| follow(result, max_age));
                }
            }
        }
        found.into_iter().map(|found| found.unwrap_or_else(unanswered)).collect()
    }
}

/// What the result of another's flight is to those who followed. Nothing when they have to try again: the deadline that
/// passed was not theirs, or the answer is older than they allow.
fn follow(result: &Result<Found, Error>, max_age: Duration) -> Option<Result<Found, Error>> {
    match result {
        Err(Error::DeadlineExceeded) => None,
        Err(error) => Some(Err(error.clone())),
        Ok(found) if found.source == Source::Computed => {
            Some(Ok(Found { source: Source::Collapsed, kept: false, ..found.clone() }))
        }
        Ok(found) => (found.stored.age() <= max_age).then(|| Ok(found.clone())),
    }
}
