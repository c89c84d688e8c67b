//! Single flight: equal misses that come at the same time are computed once, whether they come alone or in batches.
//!
//! A flight is one computation of several keys, shared by all who wait for any of them. Every answer lands as soon as it
//! is known: who waits for no other goes on, and who comes later finds it where answers are kept. The flight goes on as
//! long as somebody waits, so that the one who began it may leave; when all have left it is given up, and what it held
//! is free.

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, select},
};
use tokio::sync::SetOnce;

use super::{Found, key::Key, tiers::unanswered};
use crate::error::Error;

/// What is found or computed for one key.
pub(super) type Answer = Result<Found, Error>;

/// The computations that are under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Flights(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// Bounded by the items of the requests in the server.
    by_key: HashMap<Key, Entry>,
    last: u64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    flight: Weak<Flight>,
    /// The key's position in the flight.
    position: usize,
}

/// What a caller takes part in.
pub(super) struct Joined {
    /// The flight that was begun for the keys that nobody computes yet.
    pub own: Option<Seat>,
    /// The flights of others.
    pub others: Vec<Seat>,
}

impl Flights {
    /// Joins the flights that compute `keys`, and begins one with `begin` for those that none computes. `begin` is told
    /// the positions of those; what it returns is worked on by whoever waits.
    pub(super) fn join(&self, keys: &[Key], begin: impl FnOnce(&[usize], Landing) -> BoxFuture<'static, ()>) -> Joined {
        let mut led = Vec::new();
        let mut others: BTreeMap<u64, Seat> = BTreeMap::new();
        let mut table = self.table();
        for (index, key) in keys.iter().enumerate() {
            let entry = table.by_key.get(key);
            match entry.and_then(|entry| Some((entry.id, entry.position, entry.flight.upgrade()?))) {
                None => led.push(index),
                Some((id, position, flight)) => {
                    others.entry(id).or_insert_with(|| Seat::new(flight)).add(index, position);
                }
            }
        }
        let own = (!led.is_empty()).then(|| {
            table.last += 1;
            let (id, led_keys) = (table.last, led.iter().map(|index| keys[*index]).collect());
            let flight = Arc::new(self.begin(id, led_keys, led.len(), |landing| begin(&led, landing)));
            let mut seat = Seat::new(flight);
            for (position, index) in led.into_iter().enumerate() {
                let flight = Arc::downgrade(&seat.flight);
                table.by_key.insert(keys[index], Entry { id, flight, position });
                seat.add(index, position);
            }
            seat
        });
        drop(table);
        Joined { own, others: others.into_values().collect() }
    }

    /// All answers of a flight of `count` that nobody else can join, and so is not shared.
    pub(super) async fn alone<W: Future<Output = ()>>(
        &self,
        count: usize,
        begin: impl FnOnce(Landing) -> W,
    ) -> Vec<Answer> {
        let answers: Arc<[SetOnce<Answer>]> = (0..count).map(|_| SetOnce::new()).collect();
        let landing = Landing { flights: self.clone(), id: 0, keys: Vec::new(), answers: Arc::clone(&answers) };
        begin(landing).await;
        answers.iter().map(|answer| answer.get().cloned().unwrap_or_else(unanswered)).collect()
    }

    fn begin(
        &self,
        id: u64,
        keys: Vec<Key>,
        count: usize,
        begin: impl FnOnce(Landing) -> BoxFuture<'static, ()>,
    ) -> Flight {
        let answers: Arc<[SetOnce<Answer>]> = (0..count).map(|_| SetOnce::new()).collect();
        let landing = Landing { flights: self.clone(), id, keys, answers: Arc::clone(&answers) };
        Flight { answers, work: begin(landing).shared() }
    }

    /// Takes keys off the table, unless another flight has taken the place of this one.
    fn remove<'a>(&self, id: u64, keys: impl Iterator<Item = &'a Key>) {
        let mut table = self.table();
        for key in keys {
            if table.by_key.get(key).is_some_and(|entry| entry.id == id) {
                table.by_key.remove(key);
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A computation that several wait for. Work is done by whoever waits.
pub(super) struct Flight {
    answers: Arc<[SetOnce<Answer>]>,
    work: Shared<BoxFuture<'static, ()>>,
}

impl Flight {
    /// The answers at `positions`, as soon as all of them have landed.
    pub(super) async fn answers(&self, positions: &[usize]) -> Vec<Answer> {
        let landed = async {
            for position in positions {
                self.answers[*position].wait().await;
            }
        };
        // Work that ends without an answer will not give it any more.
        select(self.work.clone(), pin!(landed)).await;
        let answer = |position: &usize| self.answers[*position].get().cloned().unwrap_or_else(unanswered);
        positions.iter().map(answer).collect()
    }
}

/// A part in a flight.
pub(super) struct Seat {
    flight: Arc<Flight>,
    /// The positions of its keys among the caller's, and in the flight.
    here: Vec<usize>,
    there: Vec<usize>,
}

impl Seat {
    const fn new(flight: Arc<Flight>) -> Self {
        Self { flight, here: Vec::new(), there: Vec::new() }
    }

    fn add(&mut self, here: usize, there: usize) {
        self.here.push(here);
        self.there.push(there);
    }

    /// How many keys it is for.
    pub(super) const fn keys(&self) -> usize {
        self.here.len()
    }

    /// Waits for all of its answers. Each comes with its key's position among the caller's.
    pub(super) async fn answers(self) -> Vec<(usize, Answer)> {
        let answers = self.flight.answers(&self.there).await;
        self.here.into_iter().zip(answers).collect()
    }
}

/// Where a flight's answers land. Dropped with the flight's work, it takes what has not landed off the table.
pub(super) struct Landing {
    flights: Flights,
    id: u64,
    /// By position; none for a flight that nobody can join.
    keys: Vec<Key>,
    answers: Arc<[SetOnce<Answer>]>,
}

impl Landing {
    /// Tells the answer at `position` to all who wait for it. It is kept by then: who comes later finds it there. Only
    /// the first answer counts.
    pub(super) fn land(&self, position: usize, answer: Answer) {
        let first = self.answers.get(position).is_some_and(|slot| slot.set(answer).is_ok());
        if let Some(key) = self.keys.get(position).filter(|_| first) {
            self.flights.remove(self.id, std::iter::once(key));
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let left = self.keys.iter().zip(self.answers.iter()).filter(|(_, slot)| !slot.initialized());
        let left: Vec<&Key> = left.map(|(key, _)| key).collect();
        if !left.is_empty() {
            self.flights.remove(self.id, left.into_iter());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot::{Receiver, Sender, channel};

    use super::*;
    use crate::{
        cache::Stored,
        model::{Data, Prediction, Tensor, Value},
        telemetry::labels::Source,
    };

    fn key(n: u8) -> Key {
        Key::new([n; 32])
    }

    fn answer() -> Answer {
        let value = Value { tensor: Tensor::new(vec![], Data::Bool(vec![true])).unwrap(), keys: None };
        let stored = Stored::now(Prediction::Value(value), Duration::ZERO);
        Ok(Found { stored, source: Source::Computed, kept: false })
    }

    /// A flight for the keys 1 and 2: each lands when it is told to.
    fn begin(flights: &Flights) -> (Seat, [Sender<()>; 2]) {
        let ((first, one), (second, two)) = (channel(), channel());
        let work = async |landing: Landing, gates: [Receiver<()>; 2]| {
            for (position, gate) in gates.into_iter().enumerate() {
                if gate.await.is_ok() {
                    landing.land(position, answer());
                }
            }
        };
        let joined = flights.join(&[key(1), key(2)], |_, landing| work(landing, [one, two]).boxed());
        (joined.own.unwrap(), [first, second])
    }

    fn follow(flights: &Flights, keys: &[Key]) -> Seat {
        let joined = flights.join(keys, |led, _| panic!("{led:?} are under way"));
        joined.others.into_iter().next().unwrap()
    }

    fn under_way(flights: &Flights) -> usize {
        flights.table().by_key.len()
    }

    #[tokio::test]
    async fn who_waits_for_one_answer_does_not_wait_for_the_others() {
        let flights = Flights::default();
        let (leader, [first, second]) = begin(&flights);
        let mut leader = Box::pin(leader.answers());
        let follower = follow(&flights, &[key(1)]);
        first.send(()).unwrap();
        tokio::select! {
            biased;
            _ = &mut leader => panic!("the second answer is missing"),
            answers = follower.answers() => assert!(matches!(&answers[..], [(0, Ok(_))])),
        }
        assert_eq!(under_way(&flights), 1, "the first is where answers are kept");
        second.send(()).unwrap();
        assert_eq!(leader.await.into_iter().filter(|(_, answer)| answer.is_ok()).count(), 2);
        assert_eq!(under_way(&flights), 0);
    }

    #[tokio::test]
    async fn who_waits_for_the_rest_works_on_it_when_the_others_have_gone() {
        let flights = Flights::default();
        let (leader, [first, second]) = begin(&flights);
        let follower = follow(&flights, &[key(2)]);
        drop(leader);
        first.send(()).unwrap();
        second.send(()).unwrap();
        assert!(matches!(&follower.answers().await[..], [(0, Ok(_))]));
        assert_eq!(under_way(&flights), 0);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_given_up() {
        let flights = Flights::default();
        let (leader, [first, second]) = begin(&flights);
        let follower = follow(&flights, &[key(1)]);
        drop(leader);
        first.send(()).unwrap();
        follower.answers().await;
        assert_eq!(under_way(&flights), 0);
        assert!(second.is_closed(), "the work is gone");
    }

    #[tokio::test]
    async fn work_that_ends_without_an_answer_is_a_failure_and_not_the_end_of_waiting() {
        let flights = Flights::default();
        let (leader, [first, second]) = begin(&flights);
        drop((first, second));
        let answers = leader.answers().await;
        assert!(
            matches!(&answers[..], [(0, Err(Error::Internal { .. })), (1, Err(Error::Internal { .. }))]),
            "{answers:?}"
        );
        assert_eq!(under_way(&flights), 0);
    }
}
