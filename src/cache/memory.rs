//! The tier in this process: bounded in bytes, every entry with the time to live that is left to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use moka::{Expiry, sync};

use super::{key::Key, stored::Stored};
use crate::{config::CacheConfig, telemetry::metrics::CacheMetrics};

/// What an entry takes beside its answer, in bytes: its key, its place in the map, in the queues and in the timer wheel.
const ENTRY_OVERHEAD: usize = 512;

/// New entries are weighed some at a time. Large ones are weighed sooner, so that they cannot go beyond the capacity
/// by more than this many bytes.
const UNWEIGHED: u64 = 1024 * 1024;

/// Answers in this process.
#[derive(Debug)]
pub(super) struct Memory {
    entries: sync::Cache<Key, Stored>,
    unweighed: AtomicU64,
}

impl Memory {
    pub(super) fn new(config: &CacheConfig, metrics: &CacheMetrics) -> Self {
        let evictions = metrics.evictions();
        let entries = sync::Cache::builder()
            .max_capacity(config.capacity.as_u64())
            .weigher(|_, stored: &Stored| weight(stored))
            .expire_after(TimeToLive(config.ttl))
            .eviction_listener(move |_: Arc<Key>, _, cause| {
                if cause.was_evicted() {
                    evictions.count();
                }
            })
            .build();
        Self { entries, unweighed: AtomicU64::new(0) }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Stored> {
        self.entries.get(key)
    }

    pub(super) fn insert(&self, key: Key, stored: Stored) {
        let added = u64::from(weight(&stored));
        self.entries.insert(key, stored);
        if self.unweighed.fetch_add(added, Ordering::Relaxed) + added > UNWEIGHED {
            self.unweighed.store(0, Ordering::Relaxed);
            self.entries.run_pending_tasks();
        }
    }

    /// Entries and bytes, as they are now.
    pub(super) fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}

fn weight(stored: &Stored) -> u32 {
    u32::try_from(stored.bytes() + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
}

/// An answer that came from Redis has lived already.
struct TimeToLive(Duration);

impl TimeToLive {
    fn left(&self, stored: &Stored) -> Option<Duration> {
        Some(self.0.saturating_sub(stored.age()))
    }
}

impl Expiry<Key, Stored> for TimeToLive {
    fn expire_after_create(&self, _: &Key, stored: &Stored, _: Instant) -> Option<Duration> {
        self.left(stored)
    }

    fn expire_after_update(&self, _: &Key, stored: &Stored, _: Instant, _: Option<Duration>) -> Option<Duration> {
        self.left(stored)
    }
}

#[cfg(test)]
mod tests {
    use bytesize::ByteSize;

    use super::*;
    use crate::{
        cache::stored::unix_millis,
        config::CacheMode,
        model::{Data, Prediction, Tensor, Value},
        telemetry::metrics::Metrics,
    };

    fn memory(capacity: u64, ttl: Duration) -> Memory {
        let config = CacheConfig { mode: CacheMode::Memory, capacity: ByteSize::b(capacity), ttl };
        Memory::new(&config, &Metrics::new().unwrap().cache)
    }

    fn stored(elements: usize) -> Stored {
        let tensor = Tensor::new(vec![elements], Data::Uint8(vec![0; elements])).unwrap();
        Stored::now(Prediction::Value(Value { tensor, keys: None }), Duration::ZERO)
    }

    fn key(n: u64) -> Key {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        Key::new(bytes)
    }

    #[test]
    fn the_capacity_is_never_exceeded_by_much() {
        for size in [10, 100_000] {
            let memory = memory(4 << 20, Duration::from_secs(60));
            for n in 0..20_000_000 / (size as u64 + 1000) {
                memory.insert(key(n), stored(size));
                assert!(memory.entries.weighted_size() <= (4 << 20) + UNWEIGHED);
            }
            let (entries, bytes) = memory.size();
            assert!(entries > 0 && bytes <= 4 << 20, "{entries} entries, {bytes} bytes");
        }
    }

    #[test]
    fn an_answer_that_has_lived_already_lives_for_the_rest_of_its_time_only() {
        let memory = memory(1 << 20, Duration::from_secs(60));
        let lived = |seconds: u64| {
            let mut stored = stored(1);
            stored.stored_at = unix_millis() - seconds * 1000;
            stored
        };
        memory.insert(key(1), lived(59));
        memory.insert(key(2), lived(61));
        assert!(memory.get(&key(1)).is_some());
        assert!(memory.get(&key(2)).is_none());
        // A newer answer lives anew.
        memory.insert(key(2), lived(0));
        assert!(memory.get(&key(2)).is_some());
    }
}
