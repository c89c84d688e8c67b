//! A bound on what callers hold without a key: one for all of them, and one for each address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::rate_limit::network;

/// What is held, by address. An address stands in it only for as long as it holds something.
#[derive(Debug)]
pub(super) struct Ledger {
    max: u64,
    max_per_address: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: u64,
    by_address: HashMap<IpAddr, u64>,
}

/// What one request holds, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    ledger: Arc<Ledger>,
    address: IpAddr,
    amount: u64,
}

impl Ledger {
    pub(super) fn new(max: u64, max_per_address: u64) -> Arc<Self> {
        Arc::new(Self { max, max_per_address, held: Mutex::default() })
    }

    /// Takes `amount` for an address, unless it or all of them together hold too much. The first request of an address is
    /// not measured by the address' share, nor the first of all by the bound: a single one larger than both is answered.
    pub(super) fn take(self: &Arc<Self>, address: Option<IpAddr>, amount: u64) -> Option<Share> {
        let address = network(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let mut held = self.held();
        let own = held.by_address.get(&address).copied().unwrap_or_default();
        let fits = |held: u64, max: u64| held == 0 || held.saturating_add(amount) <= max;
        // A half of what the others leave: some addresses together never take all of it.
        let share = self.max_per_address.min(self.max.saturating_sub(held.all - own) / 2);
        if !fits(own, share) || !fits(held.all, self.max) {
            return None;
        }
        held.all += amount;
        held.by_address.insert(address, own + amount);
        Some(Share { ledger: Arc::clone(self), address, amount })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.ledger.held();
        held.all -= self.amount;
        if let Some(own) = held.by_address.get_mut(&self.address) {
            *own -= self.amount;
            if *own == 0 {
                held.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_share_and_all_have_a_bound() {
        let ledger = Ledger::new(10, 4);
        let take = |last, amount| ledger.take(Some([192, 0, 2, last].into()), amount);
        let held: Vec<_> = [take(1, 2), take(1, 2), take(2, 4), take(3, 2)].into_iter().map(Option::unwrap).collect();
        assert!(take(1, 1).is_none(), "more than its share");
        assert!(take(4, 1).is_none(), "more than there is");
        drop(held);
        assert!(ledger.held().by_address.is_empty());
        assert_eq!(ledger.held().all, 0);
        let large = take(1, 40).expect("a single one is never too large");
        assert!(take(2, 1).is_none());
        drop(large);
        assert!(take(2, 1).is_some());
    }
}
