//! All quotas of the server, and what is left of each.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::extract::Request;
use tower_governor::key_extractor::KeyExtractor;

use super::{
    account::Account,
    buckets::{Buckets, Rate, Refusal},
    in_flight::InFlight,
    payer::{ByCaller, Crowd, Payer},
};
use crate::{
    api::{auth::Caller, context::Context},
    config::RateLimitConfig,
    error::Error,
    keys::Plan,
    telemetry::metrics::Metrics,
};

/// Between two looks for buckets that nobody needs any more.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The plan of those who show no key, as headers and metrics name it.
const ADDRESS: &str = "address";

/// All quotas of the server.
#[derive(Debug)]
pub struct Limits {
    /// By rate and burst: plans change while the server runs, and several may be equal. A key whose plan has changed
    /// begins with a full bucket of the new one.
    keys: RwLock<HashMap<Rate, Buckets>>,
    addresses: Buckets,
    address_plan: Arc<Plan>,
    crowd: Crowd,
    in_flight: InFlight,
    pub(super) metrics: Arc<Metrics>,
    pub(super) legacy_headers: bool,
}

impl Limits {
    /// Full buckets for all; nothing, when there are to be no limits.
    pub fn new(config: &RateLimitConfig, metrics: Arc<Metrics>) -> Option<Arc<Self>> {
        let address_plan = Plan {
            name: ADDRESS.into(),
            rate: config.address_rate,
            burst: config.address_burst,
            concurrent: config.address_concurrent,
        };
        metrics.callers.expect_plan("default");
        metrics.callers.expect_plan(ADDRESS);
        config.enabled.then(|| {
            Arc::new(Self {
                keys: RwLock::default(),
                addresses: Buckets::new(Rate::of(&address_plan)),
                address_plan: Arc::new(address_plan),
                crowd: Crowd::default(),
                in_flight: InFlight::default(),
                metrics,
                legacy_headers: config.legacy_headers,
            })
        })
    }

    /// Forgets buckets that have filled up, for ever.
    pub async fn keep_tidy(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let limits = Arc::clone(&self);
            // Many thousands of buckets take milliseconds.
            let _ = tokio::task::spawn_blocking(move || limits.sweep()).await;
        }
    }

    /// The account that `request` is charged to: its key's or, where none was found yet, its address'.
    pub(super) fn account(self: &Arc<Self>, request: &Request) -> Result<Account, Error> {
        let payer = ByCaller.extract(request).map_err(Error::internal)?;
        let plan = match Context::of(request.extensions())?.caller.get() {
            Some(Caller::Key(principal)) => &principal.plan,
            Some(Caller::Open) | None => &self.address_plan,
        };
        Ok(Account::new(Arc::clone(self), self.crowd.place(payer, &self.addresses), Arc::clone(plan)))
    }

    /// Takes `items` out of the payer's bucket, and tells how many are left.
    pub(super) fn take(&self, payer: &Payer, plan: &Plan, items: NonZeroU32) -> Result<u32, Refusal> {
        if !matches!(payer, Payer::Key(_)) {
            return self.addresses.take(payer, items);
        }
        let rate = Rate::of(plan);
        // Sweeping removes buckets under the lock for writing, so none of them is emptied into nowhere.
        if let Some(buckets) = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(&rate) {
            return buckets.take(payer, items);
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.entry(rate).or_insert_with(|| Buckets::new(rate)).take(payer, items)
    }

    /// One more request of the payer at the same time, unless its plan allows no more.
    pub(super) fn enter(&self, payer: &Payer, plan: &Plan) -> bool {
        self.in_flight.enter(payer, plan.concurrent)
    }

    /// One less.
    pub(super) fn leave(&self, payer: &Payer) {
        self.in_flight.leave(payer);
    }

    fn sweep(&self) {
        self.addresses.sweep();
        self.crowd.count(&self.addresses);
        self.keys.read().unwrap_or_else(PoisonError::into_inner).values().for_each(Buckets::sweep);
        self.keys.write().unwrap_or_else(PoisonError::into_inner).retain(|_, buckets| buckets.len() > 0);
        self.in_flight.sweep();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr, Ipv6Addr},
        time::Instant,
    };

    use axum::body::Body;

    use super::super::payer::{COUNT_EVERY, CROWDS, MOST_ADDRESSES};
    use super::*;
    use crate::{api::request_id, keys::Principal, telemetry::record::Record};

    fn limits(address_rate: u32, address_burst: u32) -> Arc<Limits> {
        let config = RateLimitConfig {
            enabled: true,
            rate: 1,
            burst: 1,
            concurrent: 1,
            address_rate,
            address_burst,
            address_concurrent: 1,
            legacy_headers: false,
        };
        Limits::new(&config, Arc::new(Metrics::new().unwrap())).unwrap()
    }

    fn request(address: impl Into<Option<IpAddr>>, caller: Option<Caller>) -> Request {
        let mut request = Request::new(Body::empty());
        let (id, ..) = request_id::of(request.headers());
        let context =
            Context::new(id, Record::new(), address.into(), Instant::now(), "application/json").enter(&mut request);
        caller.map(|caller| context.caller.set(caller));
        request
    }

    fn key(limits: &Arc<Limits>, id: &str, rate: u32, burst: u32) -> Account {
        let plan = Arc::new(Plan { name: "some".into(), rate, burst, concurrent: 1 });
        let principal = Principal { key_id: id.into(), name: id.into(), scopes: Vec::new(), models: Vec::new(), plan };
        limits.account(&request(IpAddr::from(Ipv4Addr::LOCALHOST), Some(Caller::Key(Arc::new(principal))))).unwrap()
    }

    fn wait(refused: Result<(), Error>) -> Duration {
        match refused {
            Err(Error::RateLimited { retry_after, .. }) => retry_after,
            other => panic!("not refused for its rate: {other:?}"),
        }
    }

    #[test]
    fn keys_of_one_plan_have_a_bucket_each_and_keys_of_several_plans_their_own_rates() {
        let limits = limits(1, 1);
        let mut slow = (key(&limits, "a", 10, 20), 0);
        let mut also_slow = (key(&limits, "b", 10, 20), 0);
        let mut quick = (key(&limits, "c", 100, 50), 0);
        let (started, window) = (Instant::now(), Duration::from_secs(2));
        while started.elapsed() < window {
            for (account, accepted) in [&mut slow, &mut also_slow, &mut quick] {
                *accepted += i32::from(account.charge().is_ok());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let seconds = started.elapsed().as_secs_f64();
        for ((_, accepted), rate, burst) in [(slow, 10.0, 20.0), (also_slow, 10.0, 20.0), (quick, 100.0, 50.0)] {
            let (got, expected) = (f64::from(accepted) - burst, rate * seconds);
            // Pauses of the machine cost what a bucket cannot save up.
            assert!((expected * 0.8..=expected + 1.0).contains(&got), "{got} instead of {expected} after the burst");
        }
    }

    #[test]
    fn a_batch_costs_its_items_and_the_wait_is_for_all_of_them() {
        let limits = limits(1, 1);
        let account = key(&limits, "a", 4, 20);
        let batch = |items| account.charge().and_then(|()| account.charge_batch(items, "/texts"));
        let Err(Error::Invalid(violations)) = batch(21) else { panic!("more than the burst") };
        assert_eq!((violations[0].code, &*violations[0].pointer), ("batch_exceeds_quota", "/texts"));
        assert!(violations[0].detail.contains("20"), "{}", violations[0].detail);
        // That attempt has cost 1.
        batch(17).unwrap();
        // Of the 2 that are left, 1 is taken before anybody knows that it is a batch of 5.
        let wait = wait(batch(5));
        assert!(wait > Duration::from_millis(600) && wait <= Duration::from_millis(1000), "{wait:?}");
        std::thread::sleep(wait);
        batch(5).unwrap();
    }

    #[test]
    fn after_the_wait_the_next_item_is_let_in_and_not_before() {
        let limits = limits(1, 1);
        let account = key(&limits, "a", 1, 3);
        (0..3).for_each(|_| account.charge().unwrap());
        let wait = wait(account.charge());
        assert!(wait > Duration::from_millis(250) && wait <= Duration::from_millis(1000), "{wait:?}");
        std::thread::sleep(wait);
        account.charge().unwrap();
    }

    #[test]
    fn what_is_refused_is_counted_by_plan() {
        let limits = limits(1, 1);
        let stranger = limits.account(&request(IpAddr::from(Ipv4Addr::LOCALHOST), None)).unwrap();
        let account = key(&limits, "a", 1, 1);
        (0..3).for_each(|_| drop(stranger.charge()));
        account.charge().unwrap();
        let place = account.enter().unwrap();
        wait(account.enter().map(drop));
        drop(place);
        account.enter().unwrap();
        let text = String::from_utf8(limits.metrics.render().unwrap()).unwrap();
        for (plan, refused) in [("default", 0), ("address", 2), ("some", 1)] {
            let line = format!("rate_limit_rejections_total{{plan=\"{plan}\"}} {refused}\n");
            assert!(text.contains(&line), "{line}");
        }
    }

    #[test]
    fn a_plan_that_changes_counts_from_the_next_request_on() {
        let limits = limits(1, 1);
        (0..5).for_each(|_| key(&limits, "a", 1, 5).charge().unwrap());
        wait(key(&limits, "a", 1, 5).charge());
        (0..50).for_each(|_| key(&limits, "a", 1, 50).charge().unwrap());
        wait(key(&limits, "a", 1, 50).charge());
    }

    #[test]
    fn a_key_is_not_charged_for_what_its_address_does() {
        let limits = limits(1, 1);
        let stranger = || limits.account(&request(IpAddr::from(Ipv4Addr::LOCALHOST), None)).unwrap().charge();
        stranger().unwrap();
        wait(stranger());
        key(&limits, "a", 1, 1).charge().unwrap();
        wait(limits.account(&request(IpAddr::from(Ipv4Addr::LOCALHOST), Some(Caller::Open))).unwrap().charge());
        let no_address = request(None, None);
        assert!(limits.account(&no_address).is_err(), "a request without an address is charged to nobody");
    }

    #[test]
    fn a_million_forged_addresses_have_a_bounded_number_of_buckets() {
        let limits = limits(1, 1000);
        for n in 0..1_000_000_u32 {
            let address = match n % 2 {
                0 => IpAddr::V4(Ipv4Addr::from_bits(n)),
                _ => Ipv6Addr::from_bits(u128::from(n) << 64).into(),
            };
            limits.account(&request(address, None)).unwrap().charge().unwrap();
        }
        let most = MOST_ADDRESSES + COUNT_EVERY as usize + usize::from(CROWDS);
        let buckets = limits.addresses.len();
        assert!((MOST_ADDRESSES..=most).contains(&buckets), "{buckets} buckets");
        // Who shares a bucket is limited all the same.
        let last = limits.account(&request(IpAddr::from(Ipv4Addr::BROADCAST), None)).unwrap();
        assert!(matches!(last.payer, Payer::Crowd(_)), "{last:?}");
        assert!((0..1001).any(|_| last.charge().is_err()));
    }

    #[test]
    fn buckets_that_are_full_again_are_swept() {
        let limits = limits(1_000_000, 1);
        for n in 0..100_000 {
            limits.account(&request(IpAddr::from(Ipv4Addr::from_bits(n)), None)).unwrap().charge().unwrap();
            key(&limits, &n.to_string(), 1_000_000, 1).charge().unwrap();
        }
        // This one takes a hundred seconds to be full again.
        let busy = key(&limits, "a", 1, 100);
        busy.charge().and_then(|()| busy.charge_batch(100, "")).unwrap();
        let swept = || {
            limits.sweep();
            limits.addresses.len() == 0 && limits.keys.read().unwrap().len() == 1
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !swept() {
            assert!(Instant::now() < deadline, "full buckets are kept");
        }
        // Who comes after a crowd has a bucket of his own again.
        let after = limits.account(&request(IpAddr::from(Ipv4Addr::LOCALHOST), None)).unwrap();
        assert_eq!(after.payer, Payer::Address(Ipv4Addr::LOCALHOST.into()));
    }
}
