//! Single flight: equal misses that come at the same time are computed once, whether they come alone or in batches.
//!
//! A flight is one computation of several keys, shared by all who wait for any of them. It goes on as long as somebody
//! waits, so that the one who began it may leave; when all have left it is given up, and what it held is free.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};

use super::{Found, key::Key};
use crate::error::Error;

/// What a flight gives: an answer per key, in its order.
pub(super) type Landed = Arc<[Result<Found, Error>]>;

/// A computation that several wait for. Work is done by whoever polls it.
pub(super) type Flight = Shared<BoxFuture<'static, Landed>>;

/// The computations that are under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// Bounded by the items of the requests in the server.
    by_key: HashMap<Key, Entry>,
    last: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    id: u64,
    flight: WeakShared<BoxFuture<'static, Landed>>,
    /// The key's position in the flight.
    position: usize,
}

/// What a caller takes part in.
pub(super) struct Joined {
    /// The positions of the keys that nobody computes yet, in the order of the flight that was begun for them.
    pub led: Vec<usize>,
    /// That flight.
    pub own: Option<Flight>,
    /// The flights of others, each with pairs of a key's position here and there.
    pub others: Vec<(Flight, Vec<(usize, usize)>)>,
}

impl Flights {
    /// Joins the flights that compute `keys`, and begins one with `begin` for those that none computes. `begin` is told
    /// their positions; what it returns is polled by the caller.
    pub(super) fn join(
        &self,
        keys: &[Key],
        begin: impl FnOnce(&[usize]) -> BoxFuture<'static, Vec<Result<Found, Error>>>,
    ) -> Joined {
        let mut led = Vec::new();
        let mut others: BTreeMap<u64, (Flight, Vec<(usize, usize)>)> = BTreeMap::new();
        let mut table = self.table();
        for (index, key) in keys.iter().enumerate() {
            let entry = table.by_key.get(key);
            match entry.and_then(|entry| Some((entry.id, entry.position, entry.flight.upgrade()?))) {
                None => led.push(index),
                Some((id, position, flight)) => {
                    others.entry(id).or_insert_with(|| (flight, Vec::new())).1.push((index, position));
                }
            }
        }
        let own = (!led.is_empty()).then(|| {
            table.last += 1;
            let id = table.last;
            let keys: Arc<[Key]> = led.iter().map(|index| keys[*index]).collect();
            let landing = Landing { flights: self.clone(), id, keys: Arc::clone(&keys) };
            let work = begin(&led);
            let flight = async move {
                let landed = work.await.into();
                // Only now: who comes later finds the answers where they are kept.
                drop(landing);
                landed
            };
            let flight = flight.boxed().shared();
            if let Some(weak) = flight.downgrade() {
                let entry = |position| Entry { id, flight: weak.clone(), position };
                table.by_key.extend(keys.iter().enumerate().map(|(position, key)| (*key, entry(position))));
            }
            flight
        });
        drop(table);
        Joined { led, own, others: others.into_values().collect() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a flight off the table when it has landed, or when nobody waits for it any more.
struct Landing {
    flights: Flights,
    id: u64,
    keys: Arc<[Key]>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut table = self.flights.table();
        for key in self.keys.iter() {
            // Another flight may have taken the place of one that was given up.
            if table.by_key.get(key).is_some_and(|entry| entry.id == self.id) {
                table.by_key.remove(key);
            }
        }
    }
}
