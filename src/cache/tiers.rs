//! The tiers in their order, and what they do together.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::anyhow;
use futures_util::FutureExt;

use super::{
    Compute, Form, Found, Sink,
    flights::{Answer, Landing},
    key::Key,
    memory::Memory,
    remote::Remote,
    stored::Stored,
};
use crate::{
    config::{CacheConfig, CacheMode, RedisConfig},
    error::Error,
    lifecycle::Lifecycle,
    link::Trouble,
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

/// What a kept answer must be to be taken.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub max_age: Duration,
    pub form: Arc<Form>,
}

/// An item that is to be computed.
pub(super) struct Open {
    /// Where its answer lands.
    pub position: usize,
    /// What it is kept under, if it is.
    pub key: Option<Key>,
    pub item: Item,
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

    /// What memory knows of the only item of a request. Only a hit is counted and measured: of any other, [`recall`](Self::recall)
    /// makes sure, and tells.
    pub(super) fn recall_one(&self, key: &Key, max_age: Duration) -> Option<Found> {
        let started = Instant::now();
        let stored = self.memory.as_ref()?.get(key).filter(|stored| stored.age() <= max_age)?;
        self.metrics.cache.operated(Tier::Memory, CacheOperation::Get, started.elapsed());
        self.metrics.cache.looked_up(Tier::Memory, Lookup::Hit, 1);
        self.metrics.cache.saved(Tier::Memory, stored.compute_time);
        Some(Found { stored, source: Source::Memory, kept: false })
    }

    /// Fills in what memory knows. Only the first look of a request is counted and measured.
    pub(super) fn recall(&self, keys: &[Key], found: &mut [Option<Answer>], max_age: Duration, first: bool) {
        let Some(memory) = &self.memory else { return };
        let started = Instant::now();
        let mut hits = 0;
        for (key, found) in keys.iter().zip(found).filter(|(_, found)| found.is_none()) {
            let known = memory.get(key).filter(|stored| stored.age() <= max_age);
            *found = known.map(|stored| Ok(Found { stored, source: Source::Memory, kept: false }));
            hits += usize::from(found.is_some());
        }
        if first {
            self.metrics.cache.operated(Tier::Memory, CacheOperation::Get, started.elapsed());
            self.metrics.cache.looked_up(Tier::Memory, Lookup::Hit, hits);
        }
    }

    /// What Redis knows. Memory learns it.
    pub(super) async fn ask_remote(&self, keys: &[Key], terms: &Terms) -> Vec<Option<Found>> {
        let Some(remote) = &self.remote else { return vec![None; keys.len()] };
        let known = remote.get(keys, terms).await;
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
        terms: &Terms,
        record: &Record,
        compute: &Compute,
        landing: Landing,
    ) {
        let keys: Vec<Key> = batch.iter().map(|(key, _)| *key).collect();
        let mut found = vec![None; keys.len()];
        let watch = record.watch(Stage::Cache);
        // An answer may have landed between the look into memory and the start of this flight.
        self.recall(&keys, &mut found, terms.max_age, false);
        let open: Vec<usize> = (0..keys.len()).filter(|slot| found[*slot].is_none()).collect();
        let wanted: Vec<Key> = open.iter().map(|slot| keys[*slot]).collect();
        for (slot, known) in open.into_iter().zip(self.ask_remote(&wanted, terms).await) {
            found[slot] = known.map(Ok);
        }
        drop(watch);
        let mut rest = Vec::new();
        for (position, ((key, item), found)) in batch.into_iter().zip(found).enumerate() {
            match found {
                Some(answer) => landing.land(position, answer),
                None => rest.push(Open { position, key: Some(key), item }),
            }
        }
        self.run(rest, compute, landing).await;
    }

    /// Runs items. Each answer says how long its part took at most, is kept, and then lands. A panic is the failure of
    /// these items, not of who waits for them.
    pub(super) async fn run(self: Arc<Self>, open: Vec<Open>, compute: &Compute, landing: Landing) {
        let started = Instant::now();
        let count = open.len();
        if count == 0 {
            return;
        }
        let (items, places): (Vec<Item>, Vec<_>) =
            open.into_iter().map(|Open { position, key, item }| (item, (position, key))).unzip();
        let told = Arc::new(AtomicUsize::new(0));
        let tells = Arc::clone(&told);
        let sink: Sink = Arc::new(move |index, result| {
            let Some((position, key)) = places.get(index) else { return };
            tells.fetch_add(1, Ordering::Relaxed);
            let answer = result.map(|prediction| {
                let share = started.elapsed() / u32::try_from(count).unwrap_or(u32::MAX);
                let stored = Stored::now(prediction, share);
                let kept = key.is_some_and(|key| self.store(key, &stored));
                Found { stored, source: Source::Computed, kept }
            });
            landing.land(*position, answer);
        });
        let ended = AssertUnwindSafe(async { compute(items, Arc::clone(&sink)).await }).catch_unwind().await;
        let missing = match ended {
            // The usual end; making an error is expensive.
            Ok(()) if told.load(Ordering::Relaxed) == count => return,
            Ok(()) => "the model left an item out",
            Err(_panic) => "a panic while predicting; the log has its place",
        };
        // What has landed stays as it is.
        (0..count).for_each(|index| sink(index, Err(Error::internal(anyhow!(missing)))));
    }

    pub(super) fn store(&self, key: Key, stored: &Stored) -> bool {
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

/// For what cannot happen: every item is found, computed or refused.
pub(super) fn unanswered() -> Answer {
    Err(Error::internal(anyhow!("an item got no answer")))
}
