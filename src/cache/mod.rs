//! Known answers: memory, then the flights of others, then Redis, and only then the model.
//!
//! [`Cache::fetch`] is the one verb, for one item as for many. What is found is not run again, equal items are run once,
//! whoever asks for them, and the rest goes to the model as one batch. Nothing here can fail a prediction: a tier that is
//! away, or holds something that cannot be believed, is a miss.

mod distinct;
mod flights;
mod form;
mod key;
mod memory;
mod policy;
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
    flights::{Answer, Flights, Joined, Seat},
    tiers::{Open, Terms, Tiers, unanswered},
};
pub use self::{
    distinct::keys,
    form::Form,
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
        record::{Record, Watch},
    },
};

/// Runs items on their model, and tells each result as soon as it is known.
pub type Compute = Arc<dyn Fn(Vec<Item>, Sink) -> BoxFuture<'static, ()> + Send + Sync>;

/// Takes the result of one item, by its position. It is kept, and told to who waits for it, at once.
pub type Sink = Arc<dyn Fn(usize, Result<Prediction, Error>) + Send + Sync>;

/// What a request asks.
#[derive(Debug)]
pub struct Question<'a> {
    /// The version's; none when its model wants no answer to be shared.
    pub fingerprint: Option<&'a Fingerprint>,
    /// What the version's answers look like.
    pub form: &'a Arc<Form>,
    /// What is to be predicted.
    pub items: Vec<Item>,
    /// The items' keys; none where they are not known.
    pub keys: &'a [Key],
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
    /// is computed by one call of `compute`, which goes on without this caller as long as another waits for a part of it.
    pub async fn fetch(&self, question: Question<'_>, compute: impl FnOnce() -> Compute) -> Vec<Answer> {
        let Question { fingerprint, form, items, keys, policy, record } = question;
        let off = self.tiers.first().is_none();
        let bypassed = off || fingerprint.is_none() || !policy.looks_up();
        if bypassed {
            self.tiers.count_bypass(items.len());
            if policy.only_if_cached {
                return items.iter().map(|_| Err(Error::NotCached)).collect();
            }
        }
        let alone = off && items.len() == 1;
        let Some(fingerprint) = fingerprint.filter(|_| !alone) else {
            return self.run_alone(items.into_iter().map(|item| (None, item)), compute()).await;
        };
        let watch = record.watch(Stage::Cache);
        let distinct = Distinct::new(fingerprint, items, keys).await;
        let found = match bypassed {
            true => {
                drop(watch);
                let kept = |(key, item)| ((!policy.no_store).then_some(key), item);
                self.run_alone(distinct.slots.into_iter().map(kept), compute()).await
            }
            false => {
                // The usual question, and what most are answered with.
                if let [(key, _)] = &distinct.slots[..]
                    && distinct.slot_of.len() == 1
                    && let Some(known) = self.tiers.recall_one(key, self.max_age(&policy))
                {
                    return vec![Ok(known)];
                }
                self.look_up(distinct.slots, form, &policy, (record, watch), &compute()).await
            }
        };
        let found = distinct::spread(&found, &distinct.slot_of);
        self.tiers.count_saved(found.iter().flatten());
        found
    }

    /// The greatest age of an answer that will do. A tier that has not yet forgotten what is older gives none.
    fn max_age(&self, policy: &Policy) -> Duration {
        policy.max_age().min(self.ttl)
    }

    /// Computes everything, for this caller alone. What has a key is kept under it.
    async fn run_alone(&self, batch: impl Iterator<Item = (Option<Key>, Item)>, compute: Compute) -> Vec<Answer> {
        let open: Vec<Open> = batch.enumerate().map(|(position, (key, item))| Open { position, key, item }).collect();
        let (count, tiers) = (open.len(), Arc::clone(&self.tiers));
        self.flights.alone(count, |landing| async move { tiers.run(open, &compute, landing).await }).await
    }

    async fn look_up(
        &self,
        slots: Vec<(Key, Item)>,
        form: &Arc<Form>,
        policy: &Policy,
        (record, watch): (&Record, Watch<'_>),
        compute: &Compute,
    ) -> Vec<Answer> {
        let max_age = self.max_age(policy);
        let terms = Terms { max_age, form: Arc::clone(form) };
        let (keys, mut items): (Vec<Key>, Vec<_>) = slots.into_iter().map(|(key, item)| (key, Some(item))).unzip();
        let mut found: Vec<Option<Answer>> = vec![None; keys.len()];
        let mut first_round = true;
        let mut looking = Some(watch);
        loop {
            let watch = looking.take().unwrap_or_else(|| record.watch(Stage::Cache));
            self.tiers.recall(&keys, &mut found, max_age, first_round);
            let open: Vec<usize> = (0..keys.len()).filter(|slot| found[*slot].is_none()).collect();
            let wanted: Vec<Key> = open.iter().map(|slot| keys[*slot]).collect();
            if wanted.is_empty() {
                break;
            }
            if policy.only_if_cached {
                self.tiers.count_joined(wanted.len(), 0);
                let known = self.tiers.ask_remote(&wanted, &terms).await;
                for (slot, known) in open.into_iter().zip(known) {
                    found[slot] = Some(known.ok_or(Error::NotCached));
                }
                break;
            }
            let Joined { own, others } = self.flights.join(&wanted, |led, landing| {
                let take = |index: &usize| items[open[*index]].take().map(|item| (wanted[*index], item));
                let batch = led.iter().filter_map(take).collect();
                let (tiers, compute, record) = (Arc::clone(&self.tiers), Arc::clone(compute), record.clone());
                let terms = terms.clone();
                async move { tiers.fly(batch, &terms, &record, &compute, landing).await }.boxed()
            });
            if first_round {
                let led = own.as_ref().map_or(0, Seat::keys);
                self.tiers.count_joined(led, wanted.len() - led);
            }
            drop(watch);

            let mut waiting = own.is_none().then(|| record.watch(Stage::Cache));
            let own = async {
                let answers = own?.answers().await;
                // From here on, only others are waited for.
                waiting = Some(record.watch(Stage::Cache));
                Some(answers)
            };
            let (own, others) = join(own, join_all(others.into_iter().map(Seat::answers))).await;
            drop(waiting);
            for (index, answer) in own.into_iter().flatten() {
                found[open[index]] = Some(answer);
            }
            for (index, answer) in others.into_iter().flatten() {
                found[open[index]] = follow(answer, max_age, first_round);
            }
            first_round = false;
        }
        found.into_iter().map(|found| found.unwrap_or_else(unanswered)).collect()
    }
}

/// What the answer of another's flight is to those who followed. Nothing when they have to try again: the deadline that
/// passed was not theirs, or the answer is older than they allow. Where a batch is refused, one item of it may be let in;
/// but under a load that refuses everybody, it is not tried for ever.
fn follow(answer: Answer, max_age: Duration, first_round: bool) -> Option<Answer> {
    match answer {
        Err(Error::DeadlineExceeded | Error::TooHasty { .. }) => None,
        Err(Error::Overloaded { .. }) if first_round => None,
        Err(error) => Some(Err(error)),
        Ok(found) if found.source == Source::Computed => {
            Some(Ok(Found { source: Source::Collapsed, kept: false, ..found }))
        }
        Ok(found) => (found.stored.age() <= max_age).then_some(Ok(found)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytesize::ByteSize;

    use super::{stored::clock::SET_FORWARD, *};
    use crate::{
        config::CacheMode,
        model::{Data, Tensor, Value},
    };

    const KEY: Key = Key::new([7; 32]);

    #[test]
    fn an_answer_that_is_older_than_its_ttl_by_either_clock_is_no_hit() {
        let config = CacheConfig { mode: CacheMode::Memory, capacity: ByteSize::mib(1), ttl: Duration::from_secs(600) };
        let metrics = Arc::new(Metrics::new().unwrap());
        let second = Duration::from_secs(1);
        let redis = RedisConfig { url: String::new(), timeout: second, connect_timeout: second, prefix: String::new() };
        let cache = Cache::new(&config, &redis, metrics).unwrap();
        let tensor = Tensor::new(vec![1], Data::Uint8(vec![1])).unwrap();
        let stored = Stored::now(Prediction::Value(Value { tensor, keys: None }), Duration::ZERO);
        let hits = |stored: &Stored, set_forward: Duration, max_age: Option<u64>| {
            cache.tiers.store(KEY, stored);
            SET_FORWARD.set(i64::try_from(set_forward.as_millis()).unwrap());
            let policy = Policy { max_age: max_age.map(Duration::from_secs), ..Policy::default() };
            let max_age = cache.max_age(&policy);
            let one = cache.tiers.recall_one(&KEY, max_age).is_some();
            let mut found = [None];
            cache.tiers.recall(&[KEY], &mut found, max_age, true);
            SET_FORWARD.set(0);
            assert_eq!(one, found[0].is_some());
            one
        };
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        for (set_forward, max_age, hit) in [
            (minutes(0), None, true),
            (minutes(9), None, true),
            (minutes(9), Some(60), false),
            (minutes(60), None, false),
            (minutes(60), Some(7200), false),
        ] {
            assert_eq!(hits(&stored, set_forward, max_age), hit, "{set_forward:?} {max_age:?}");
        }
        // The wall clock was set back since: only the other one knows.
        let set_back = stored.clone().that_came(Instant::now().checked_sub(minutes(5)).unwrap());
        assert!(hits(&set_back, minutes(0), None));
        assert!(!hits(&set_back, minutes(0), Some(60)));
    }

    #[test]
    fn what_only_the_first_caller_met_is_tried_again_and_what_all_meet_is_told() {
        let overloaded = || Err(Error::Overloaded { what: "a batch".to_owned(), retry_after: None });
        for (answer, first_round, again) in [
            (Err(Error::DeadlineExceeded), true, true),
            (Err(Error::DeadlineExceeded), false, true),
            (Err(Error::TooHasty { retry_after: Duration::ZERO }), false, true),
            (overloaded(), true, true),
            (overloaded(), false, false),
            (Err(Error::Invalid(vec![])), true, false),
            (unanswered(), true, false),
        ] {
            let told = format!("{answer:?}, {first_round}");
            assert_eq!(follow(answer, Duration::MAX, first_round).is_none(), again, "{told}");
        }
    }
}
