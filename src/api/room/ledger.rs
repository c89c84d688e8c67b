//! Who holds how much of a space, and which of it is held by bodies that still arrive.
//!
//! One caller may hold a share of what the others leave (the dynamic threshold of switches with shared buffers, Choudhury
//! and Hahne 1998): a single caller gets that share of all of it, several get less each, and something is always left for
//! the next one. Where that is not enough, bodies that have been arriving for long lose their room, the one that has held
//! the most for the longest time first.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{Space, UNCOUNTED};
use crate::api::rate_limit::Payer;

/// Parts with a lock each: callers seldom wait for each other.
const SHARDS: usize = 16;

/// A body is not slow before this.
const PATIENCE: Duration = Duration::from_secs(1);

/// Callers, as long as something is counted for them. As many as there is room for at the most.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    shards: [Mutex<HashMap<Option<Payer>, Account>>; SHARDS],
    hasher: RandomState,
}

/// What one caller holds.
#[derive(Debug, Default)]
struct Account {
    kib: u64,
    /// The part of bodies that nobody has begun to read.
    unread: u64,
    arriving: Vec<Arc<Holding>>,
}

/// What is counted of one request. Changed under the lock of its caller's shard alone.
#[derive(Debug)]
pub(super) struct Holding {
    payer: Option<Payer>,
    since: Instant,
    /// Milliseconds from then until the last bytes came.
    moved: AtomicU64,
    kib: AtomicU64,
    arriving: AtomicBool,
    unread: AtomicBool,
    lost: AtomicBool,
    told: Notify,
}

/// Why nothing was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The caller holds its share.
    Share,
    /// Nothing is left.
    Full,
    /// This body was too slow, and its room went to others.
    Lost,
}

type Shard<'a> = MutexGuard<'a, HashMap<Option<Payer>, Account>>;

impl Ledger {
    fn shard(&self, payer: &Option<Payer>) -> Shard<'_> {
        let place = self.hasher.hash_one(payer) % SHARDS as u64;
        self.locked(usize::try_from(place).unwrap_or_default())
    }

    fn locked(&self, place: usize) -> Shard<'_> {
        self.shards[place % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holding {
    /// Waits until its room is lost.
    pub(super) async fn lost(&self) {
        self.told.notified().await;
    }

    fn kib(&self) -> u64 {
        self.kib.load(Ordering::Relaxed)
    }

    fn is_arriving(&self) -> bool {
        self.arriving.load(Ordering::Relaxed)
    }

    /// Its part of what is unread.
    fn unread(&self) -> u64 {
        if self.unread.load(Ordering::Relaxed) { self.kib() } else { 0 }
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Bytes came.
    fn moves(&self, now: Instant) {
        let moved = now.saturating_duration_since(self.since).as_millis();
        self.moved.store(u64::try_from(moved).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether no bytes have come for long.
    fn is_stuck(&self, now: Instant) -> bool {
        let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
        now.saturating_duration_since(self.since).saturating_sub(moved) >= PATIENCE
    }

    /// What is lost to others while it holds that.
    fn weight(&self, now: Instant) -> u128 {
        u128::from(self.kib()) * now.saturating_duration_since(self.since).as_millis()
    }
}

impl Account {
    /// The arriving body that has held the most for the longest time, of those that began before `before`.
    fn slowest(&self, now: Instant, before: Instant) -> Option<&Arc<Holding>> {
        let slow = self.arriving.iter().filter(|holding| holding.since < before);
        slow.max_by_key(|holding| holding.weight(now))
    }

    /// The same of those that have come to a halt.
    fn stuck(&self, now: Instant) -> Option<Arc<Holding>> {
        let stuck = self.arriving.iter().filter(|holding| holding.is_stuck(now));
        stuck.max_by_key(|holding| holding.weight(now)).map(Arc::clone)
    }

    /// Takes its room from `holding`, and tells how much that was.
    fn evict(&mut self, holding: &Arc<Holding>) -> u64 {
        self.arriving.retain(|other| !Arc::ptr_eq(other, holding));
        let kib = self.clear(holding);
        holding.lost.store(true, Ordering::Relaxed);
        holding.told.notify_one();
        kib
    }

    /// Counts it no more, and tells what it held.
    fn clear(&mut self, holding: &Holding) -> u64 {
        self.unread -= holding.unread();
        let kib = holding.kib.swap(0, Ordering::Relaxed);
        self.kib -= kib;
        kib
    }

    /// Whether the caller may hold `more` for this request.
    fn admits(&self, holding: &Holding, more: u64, space: &Space) -> bool {
        let unread = !holding.is_arriving() || self.unread + more <= space.allowed_unread(self.kib);
        unread && self.kib + more <= space.allowed(self.kib)
    }
}

impl Space {
    /// Begins to count a request that holds `held` already and wants `more`.
    pub(super) fn count(
        &self,
        payer: Option<Payer>,
        held: u64,
        more: u64,
        arriving: bool,
    ) -> Result<Arc<Holding>, Refusal> {
        let holding = Arc::new(Holding {
            payer,
            since: Instant::now(),
            moved: AtomicU64::new(0),
            kib: AtomicU64::new(held),
            arriving: AtomicBool::new(arriving),
            unread: AtomicBool::new(arriving),
            lost: AtomicBool::new(false),
            told: Notify::new(),
        });
        {
            let mut shard = self.ledger.shard(&holding.payer);
            let account = shard.entry(holding.payer.clone()).or_default();
            account.kib += held;
            if arriving {
                account.unread += held;
                account.arriving.push(Arc::clone(&holding));
            }
        }
        let grown = self.grow(&holding, more);
        if let Err(refusal) = grown {
            // The request itself still has what it held.
            self.forget(&holding);
            // Another one may have taken it meanwhile.
            return Err(if holding.is_lost() { Refusal::Lost } else { refusal });
        }
        Ok(holding)
    }

    /// Takes more for a request that is counted, from slow bodies where nothing else is left.
    pub(super) fn grow(&self, holding: &Arc<Holding>, more: u64) -> Result<(), Refusal> {
        let now = Instant::now();
        let slow = now.checked_sub(PATIENCE).unwrap_or(now);
        // A body that arrives slowly itself takes nothing from those that came later.
        let before = if holding.is_arriving() { slow.min(holding.since) } else { slow };
        loop {
            let mut shard = self.ledger.shard(&holding.payer);
            if holding.is_lost() {
                return Err(Refusal::Lost);
            }
            let account = shard.entry(holding.payer.clone()).or_default();
            if !account.admits(holding, more, self) {
                // Of its own bodies, only one that has come to a halt: where all are slow, those that began first come to
                // their end, and the next ones are refused.
                let stuck = account.stuck(now).filter(|stuck| !Arc::ptr_eq(stuck, holding));
                let Some(stuck) = stuck else { return Err(Refusal::Share) };
                self.give_back(account.evict(&stuck));
                continue;
            }
            let is_small = holding.kib() + more <= UNCOUNTED;
            if self.take_leaving(more, if is_small { 0 } else { self.kept }) {
                account.unread -= holding.unread();
                account.kib += more;
                holding.kib.fetch_add(more, Ordering::Relaxed);
                account.unread += holding.unread();
                holding.moves(now);
                return Ok(());
            }
            drop(shard);
            if !self.evict_slowest(now, before) {
                return Err(Refusal::Full);
            }
        }
    }

    /// Gives a part back.
    pub(super) fn shrink(&self, holding: &Holding, kib: u64) {
        let mut shard = self.ledger.shard(&holding.payer);
        if holding.is_lost() {
            return;
        }
        if let Some(account) = shard.get_mut(&holding.payer) {
            account.unread -= holding.unread();
            account.kib -= kib;
            holding.kib.fetch_sub(kib, Ordering::Relaxed);
            account.unread += holding.unread();
            self.give_back(kib);
        }
    }

    /// Its body is being read.
    pub(super) fn begin_reading(&self, holding: &Holding) {
        let mut shard = self.ledger.shard(&holding.payer);
        if let Some(account) = shard.get_mut(&holding.payer) {
            account.unread -= holding.unread();
            holding.unread.store(false, Ordering::Relaxed);
        }
    }

    /// Its body is there, and keeps its room; false where that is lost.
    pub(super) fn settle(&self, holding: &Arc<Holding>) -> bool {
        let mut shard = self.ledger.shard(&holding.payer);
        holding.arriving.store(false, Ordering::Relaxed);
        if let Some(account) = shard.get_mut(&holding.payer) {
            account.arriving.retain(|other| !Arc::ptr_eq(other, holding));
        }
        !holding.is_lost()
    }

    /// Gives all of it back.
    pub(super) fn leave(&self, holding: &Arc<Holding>) {
        self.give_back(self.forget(holding));
    }

    /// Counts it no more, and tells what it held.
    fn forget(&self, holding: &Arc<Holding>) -> u64 {
        let mut shard = self.ledger.shard(&holding.payer);
        let mut kib = 0;
        if let Some(account) = shard.get_mut(&holding.payer) {
            kib = account.clear(holding);
            if holding.is_arriving() {
                account.arriving.retain(|other| !Arc::ptr_eq(other, holding));
            }
            if account.kib == 0 && account.arriving.is_empty() {
                shard.remove(&holding.payer);
            }
        }
        kib
    }

    /// Takes its room from the slowest body of all; false where none is slow.
    fn evict_slowest(&self, now: Instant, before: Instant) -> bool {
        let slowest = (0..SHARDS).filter_map(|place| {
            let shard = self.ledger.locked(place);
            let accounts = shard.values().filter_map(|account| account.slowest(now, before));
            accounts.max_by_key(|holding| holding.weight(now)).map(Arc::clone)
        });
        let Some(slowest) = slowest.max_by_key(|holding| holding.weight(now)) else { return false };
        let mut shard = self.ledger.shard(&slowest.payer);
        // It may have arrived, or left, meanwhile: then there is another look.
        if let Some(account) = shard.get_mut(&slowest.payer)
            && slowest.is_arriving()
            && !slowest.is_lost()
        {
            self.give_back(account.evict(&slowest));
        }
        true
    }
}
