//! The tier in Redis: read within a timeout, written in the background, left alone while it is away.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{
    Form,
    key::Key,
    stored::{MOST_BYTES, Stored, Unbelievable},
    tiers::Terms,
};
use crate::{
    config::RedisConfig,
    lifecycle::Lifecycle,
    link::{Connection, Link, Purpose, Redis, Trouble},
    telemetry::{
        labels::{CacheOperation, Lookup, Tier},
        metrics::Metrics,
    },
};

/// Keys in one command: Redis does nothing else while it answers one.
const KEYS_AT_ONCE: usize = 512;

/// One answer, which is what GETRANGE is asked for, or some words.
const MAX_REPLY_BYTES: usize = MOST_BYTES + 64 * 1024;

/// Of all answers to one request that are read. The more keys it has, the smaller is what is read under each.
const MAX_LOOKUP_BYTES: usize = 64 * 1024 * 1024;

/// Answers that may wait to be written, by number and by bytes. What does not fit is not stored.
const MOST_WAITING: usize = 8192;
const MOST_WAITING_BYTES: usize = 32 * 1024 * 1024;

/// Answers in one write.
const WRITES_AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 1024 * 1024;

/// For a write, for which nobody waits.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Above this, reading answers takes longer than an async thread should be held.
const INLINE_BYTES: usize = 256 * 1024;

/// Answers in a Redis that several servers share.
#[derive(Debug)]
pub(super) struct Remote {
    reads: Link,
    writes: Link,
    waiting: Sender<(Key, Stored)>,
    waiting_bytes: AtomicUsize,
    /// Until the writer takes it.
    queue: Mutex<Option<Receiver<(Key, Stored)>>>,
    metrics: Arc<Metrics>,
    prefix: String,
    ttl: Duration,
}

impl Remote {
    /// Connects to nothing yet: see [`start`](Self::start).
    ///
    /// # Errors
    /// When the URL is none.
    pub(super) fn new(config: &RedisConfig, ttl: Duration, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let redis = Arc::new(Redis::new(config, MAX_REPLY_BYTES)?);
        let (waiting, queue) = channel(MOST_WAITING);
        Ok(Self {
            reads: Link::new(Arc::clone(&redis), Purpose::Reads),
            writes: Link::new(redis, Purpose::Writes(format!("{}probe", config.prefix))),
            waiting,
            waiting_bytes: AtomicUsize::new(0),
            queue: Mutex::new(Some(queue)),
            metrics,
            prefix: config.prefix.clone(),
            ttl,
        })
    }

    /// Begins to connect and to write, in the background.
    pub(super) fn start(self: &Arc<Self>, lifecycle: &Lifecycle) {
        let remote = Arc::clone(self);
        lifecycle.spawn(async move { remote.reads.keep(|| remote.tell()).await });
        let remote = Arc::clone(self);
        lifecycle.spawn(async move { remote.writes.keep(|| remote.tell()).await });
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(queue) = queue {
            let remote = Arc::clone(self);
            lifecycle.spawn(async move { remote.write_all(queue).await });
        }
    }

    /// Why it is left alone, or why it is not written to.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.reads.trouble().or_else(|| self.writes.trouble())
    }

    fn tell(&self) {
        self.metrics.cache.circuit_open(Tier::Redis).set(i64::from(self.trouble().is_some()));
    }

    /// What is known, in the order of `keys`. Takes no longer than one command may, and nothing while Redis is away.
    pub(super) async fn get(&self, keys: &[Key], terms: &Terms) -> Vec<Option<Stored>> {
        let Some(connection) = self.reads.connection() else {
            self.metrics.cache.looked_up(Tier::Redis, Lookup::Bypass, keys.len());
            return vec![None; keys.len()];
        };
        // One more than is believed: what is too long is seen to be.
        let most = (MOST_BYTES + 1).min(MAX_LOOKUP_BYTES / keys.len().max(1));
        let chunks = keys.chunks(KEYS_AT_ONCE).map(|keys| self.get_chunk(&connection, keys, most, terms));
        join_all(chunks).await.into_iter().flatten().collect()
    }

    async fn get_chunk(
        &self,
        connection: &Connection,
        keys: &[Key],
        most: usize,
        terms: &Terms,
    ) -> Vec<Option<Stored>> {
        let names: Vec<String> = keys.iter().map(|key| self.name(key)).collect();
        let started = Instant::now();
        let result = connection.get(&names, most).await;
        self.metrics.cache.operated(Tier::Redis, CacheOperation::Get, started.elapsed());
        self.reads.note(&result);
        let Ok(values) = result else {
            self.metrics.cache.looked_up(Tier::Redis, Lookup::Error, keys.len());
            return vec![None; keys.len()];
        };
        // What was cut because this request has many keys may be right, and is not known.
        let whole = |value: Option<Vec<u8>>| value.filter(|value| most > MOST_BYTES || value.len() < most);
        let values = values.into_iter().map(whole).collect();
        let max_age = terms.max_age.min(self.ttl);
        let believed = |(lookup, stored)| {
            self.metrics.cache.looked_up(Tier::Redis, lookup, 1);
            stored
        };
        let found = read(keys.to_vec(), values, Arc::clone(&terms.form)).await;
        found.into_iter().map(|found| judge(found, max_age)).map(believed).collect()
    }

    /// Keeps an answer, soon. Returns whether there was place for it.
    pub(super) fn store(&self, key: Key, stored: Stored) -> bool {
        let bytes = stored.bytes();
        if bytes > MOST_BYTES || self.writes.connection().is_none() {
            return false;
        }
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let taken = waiting <= MOST_WAITING_BYTES && self.waiting.try_send((key, stored)).is_ok();
        if !taken {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.metrics.cache.dropped_writes.inc();
        }
        taken
    }

    async fn write_all(&self, mut queue: Receiver<(Key, Stored)>) {
        let mut waiting = Vec::with_capacity(WRITES_AT_ONCE);
        while queue.recv_many(&mut waiting, WRITES_AT_ONCE).await > 0 {
            let mut entries = Vec::with_capacity(waiting.len());
            let mut bytes = 0;
            for (key, stored) in waiting.drain(..) {
                self.waiting_bytes.fetch_sub(stored.bytes(), Ordering::Relaxed);
                let value = stored.encode(&key);
                bytes += value.len();
                entries.push((self.name(&key), value, self.ttl.saturating_sub(stored.age())));
                if bytes > BYTES_AT_ONCE {
                    self.write(&entries).await;
                    entries.clear();
                    bytes = 0;
                }
            }
            self.write(&entries).await;
        }
    }

    async fn write(&self, entries: &[(String, Vec<u8>, Duration)]) {
        let connection = self.writes.connection().filter(|_| !entries.is_empty());
        let Some(connection) = connection else { return };
        let started = Instant::now();
        let result = connection.set(entries, WRITE_TIMEOUT).await;
        self.metrics.cache.operated(Tier::Redis, CacheOperation::Set, started.elapsed());
        self.writes.note(&result);
    }

    fn name(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }
}

type Read = Option<Result<Stored, Unbelievable>>;

/// Makes answers of what was read, many away from the async threads.
async fn read(keys: Vec<Key>, values: Vec<Option<Vec<u8>>>, form: Arc<Form>) -> Vec<Read> {
    let bytes: usize = values.iter().flatten().map(Vec::len).sum();
    let count = keys.len();
    let decode = move || -> Vec<Read> {
        let pairs = keys.iter().zip(values);
        pairs.map(|(key, value)| value.map(|value| Stored::decode(key, &value, &form))).collect()
    };
    match bytes <= INLINE_BYTES {
        true => decode(),
        false => tokio::task::spawn_blocking(decode).await.unwrap_or_else(|_| vec![Some(Err(Unbelievable)); count]),
    }
}

fn judge(read: Read, max_age: Duration) -> (Lookup, Option<Stored>) {
    match read {
        Some(Ok(stored)) if stored.age() <= max_age => (Lookup::Hit, Some(stored)),
        Some(Ok(_)) | None => (Lookup::Miss, None),
        Some(Err(Unbelievable)) => (Lookup::Error, None),
    }
}
