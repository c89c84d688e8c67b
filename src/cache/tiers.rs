//! The tiers in their order, and what they do together.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use futures_util::FutureExt;

use super::{Compute, Found, breaker::Trouble, key::Key, memory::Memory, remote::Remote, stored::Stored};
use crate::{
    config::{CacheConfig, CacheMode, RedisConfig},
    error::Error,
    lifecycle::Lifecycle,
    model::conform::Item,
    telemetry::{
        labels::{CacheOperation, Lookup, Source, Stage, Tier},
        metrics::Metrics,
        record::Record,
    },
};

/// Memory, and behind it Redis; or one of them, or none.
#[derive(Debug)]
pub(super) struct Tiers {
    memory: Option<Memory>,
    remote: Option<Arc<Remote>>,
    metrics: Arc<Metrics>,
}

impl Tiers {
    pub(super) fn new(config: &CacheConfig, redis: &RedisConfig, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let (in_memory, in_redis) = match config.mode {
            CacheMode::Off => (false, false),
            CacheMode::Memory => (true, false),
            CacheMode::Redis => (false, true),
            CacheMode::Tiered => (true, true),
        };
        let memory = in_memory.then(|| Memory::new(config, &metrics.cache));
        let remote = in_redis.then(|| Remote::new(redis, config.ttl, Arc::clone(&metrics))).transpose()?;
        Ok(Self { memory, remote: remote.map(Arc::new), metrics })
    }

    pub(super) fn start(&self, lifecycle: &Lifecycle) {
        if let Some(remote) = &self.remote {
            remote.start(lifecycle);
        }
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.remote.as_ref()?.trouble()
    }

    pub(super) fn observe(&self) {
        if let Some(memory) = &self.memory {
            let (entries, bytes) = memory.size();
            self.metrics.cache.entries(Tier::Memory, entries, bytes);
        }
    }

    /// The one that is asked first.
    pub(super) fn first(&self) -> Option<Tier> {
        match (&self.memory, &self.remote) {
            (Some(_), _) => Some(Tier::Memory),
            (None, Some(_)) => Some(Tier::Redis),
            (None, None) => None,
        }
    }

    /// Fills in what memory knows.
    pub(super) fn recall(
        &self,
        keys: &[Key],
        found: &mut [Option<Result<Found, Error>>],
        max_age: Duration,
        count: bool,
    ) {
        let Some(memory) = &self.memory else { return };
        let started = Instant::now();
        let mut hits = 0;
        for (key, found) in keys.iter().zip(found).filter(|(_, found)| found.is_none()) {
            let known = memory.get(key).filter(|stored| stored.age() <= max_age);
            *found = known.map(|stored| Ok(Found { stored, source: Source::Memory, kept: false }));
            hits += usize::from(found.is_some());
        }
        self.metrics.cache.operated(Tier::Memory, CacheOperation::Get, started.elapsed());
        if count {
            self.metrics.cache.looked_up(Tier::Memory, Lookup::Hit, hits);
        }
    }

    /// What Redis knows. Memory learns it.
    pub(super) async fn ask_remote(&self, keys: &[Key], max_age: Duration) -> Vec<Option<Found>> {
        let Some(remote) = &self.remote else { return vec![None; keys.len()] };
        let known = remote.get(keys, max_age).await;
        let found = |(key, stored): (&Key, Option<Stored>)| {
            let stored = stored?;
            if let Some(memory) = &self.memory {
                memory.insert(*key, stored.clone());
            }
            Some(Found { stored, source: Source::Redis, kept: false })
        };
        keys.iter().zip(known).map(found).collect()
    }

    /// Answers what nobody else is answering: from Redis, else from the model.
    pub(super) async fn fly(
        self: Arc<Self>,
        batch: Vec<(Key, Item)>,
        max_age: Duration,
        record: &Record,
        compute: &Compute,
    ) -> Vec<Result<Found, Error>> {
        let keys: Vec<Key> = batch.iter().map(|(key, _)| *key).collect();
        let mut found = vec![None; keys.len()];
        let watch = record.watch(Stage::Cache);
        // A flight may have landed between the look into memory and the start of this one.
        self.recall(&keys, &mut found, max_age, false);
        let open: Vec<usize> = (0..keys.len()).filter(|slot| found[*slot].is_none()).collect();
        let wanted: Vec<Key> = open.iter().map(|slot| keys[*slot]).collect();
        for (slot, known) in open.into_iter().zip(self.ask_remote(&wanted, max_age).await) {
            found[slot] = known.map(Ok);
        }
        drop(watch);
        let rest = batch.into_iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(slot, _)| slot).collect();
        let mut computed = self.run_and_keep(rest, true, compute).await.into_iter();
        found.into_iter().map(|found| found.or_else(|| computed.next()).unwrap_or_else(unanswered)).collect()
    }

    pub(super) async fn run_and_keep(
        &self,
        batch: Vec<(Key, Item)>,
        keep: bool,
        compute: &Compute,
    ) -> Vec<Result<Found, Error>> {
        let (keys, items): (Vec<Key>, Vec<Item>) = batch.into_iter().unzip();
        let mut found = run(items, compute).await;
        if keep {
            for (key, found) in keys.into_iter().zip(&mut found) {
                if let Ok(found) = found {
                    found.kept = self.store(key, &found.stored);
                }
            }
        }
        found
    }

    fn store(&self, key: Key, stored: &Stored) -> bool {
        if let Some(memory) = &self.memory {
            let started = Instant::now();
            memory.insert(key, stored.clone());
            self.metrics.cache.operated(Tier::Memory, CacheOperation::Set, started.elapsed());
        }
        let written = self.remote.as_ref().is_some_and(|remote| remote.store(key, stored.clone()));
        written || self.memory.is_some()
    }

    /// Nobody looked into any tier for so many items.
    pub(super) fn count_bypass(&self, items: usize) {
        let tiers = [self.memory.as_ref().map(|_| Tier::Memory), self.remote.as_ref().map(|_| Tier::Redis)];
        tiers.into_iter().flatten().for_each(|tier| self.metrics.cache.looked_up(tier, Lookup::Bypass, items));
    }

    /// So many items that memory does not know begin a flight, so many follow one. Redis counts those that begin one.
    pub(super) fn count_joined(&self, led: usize, followed: usize) {
        let Some(tier) = self.first() else { return };
        self.metrics.cache.looked_up(tier, Lookup::Collapsed, followed);
        if tier == Tier::Memory {
            self.metrics.cache.looked_up(tier, Lookup::Miss, led);
        }
    }

    /// The computing that hits spared.
    pub(super) fn count_saved<'a>(&self, found: impl Iterator<Item = &'a Found>) {
        for found in found {
            match found.source {
                Source::Memory => self.metrics.cache.saved(Tier::Memory, found.stored.compute_time),
                Source::Redis => self.metrics.cache.saved(Tier::Redis, found.stored.compute_time),
                Source::Computed | Source::Collapsed => {}
            }
        }
    }
}

/// Runs items; each result says how long its part took. A panic is the failure of these items, not of who waits for them.
pub(super) async fn run(items: Vec<Item>, compute: &Compute) -> Vec<Result<Found, Error>> {
    let count = items.len();
    if count == 0 {
        return Vec::new();
    }
    let started = Instant::now();
    let computed = AssertUnwindSafe(async { compute(items).await }).catch_unwind().await;
    let time = started.elapsed() / u32::try_from(count).unwrap_or(u32::MAX);
    let mut results = computed.unwrap_or_else(|_panic| {
        let error = Error::internal(anyhow!("a panic while predicting; the log has its place"));
        vec![Err(error); count]
    });
    results.resize_with(count, || Err(Error::internal(anyhow!("the model left an item out"))));
    let found = |prediction| Found { stored: Stored::now(prediction, time), source: Source::Computed, kept: false };
    results.into_iter().map(|result| result.map(found)).collect()
}

/// For what cannot happen: every item is found, computed or refused.
pub(super) fn unanswered() -> Result<Found, Error> {
    Err(Error::internal(anyhow!("an item got no answer")))
}
