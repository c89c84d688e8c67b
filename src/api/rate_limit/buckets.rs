//! Buckets that fill at one rate, one for each payer (the generic cell rate algorithm of `governor`).

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
};
use tower_governor::governor::SharedRateLimiter;

use super::payer::Payer;
use crate::keys::Plan;

/// How fast buckets fill, and how much they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Rate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl Rate {
    /// As `plan` says, and at least one of each.
    pub(super) fn of(plan: &Plan) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self { per_second: at_least_one(plan.rate), burst: at_least_one(plan.burst) }
    }

    /// In which one item is added.
    pub(super) fn period(self) -> Duration {
        Duration::from_secs(1) / self.per_second.get()
    }

    /// Items in a full bucket.
    pub(super) const fn burst(self) -> u32 {
        self.burst.get()
    }
}

/// A bucket did not hold what was asked of it, and still holds what it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Items that are left.
    pub remaining: u32,
    /// Until it will hold what was asked.
    pub wait: Duration,
}

/// Buckets of one rate. A payer who is not known has a full one.
#[derive(Debug)]
pub(super) struct Buckets {
    limiter: SharedRateLimiter<Payer, StateInformationMiddleware>,
    rate: Rate,
}

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        // The quota's `per_second` means what it says; that of the library's own builder is seconds per item.
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self { limiter: Arc::new(RateLimiter::keyed(quota).with_middleware()), rate }
    }

    /// Takes all of `items` or none, and tells how many are left. More than the burst never fit.
    pub(super) fn take(&self, payer: &Payer, items: NonZeroU32) -> Result<u32, Refusal> {
        match self.limiter.check_key_n(payer, items) {
            Ok(Ok(snapshot)) => Ok(snapshot.remaining_burst_capacity()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(DefaultClock::default().now());
                // What is missing arrives during the wait.
                let missing = wait.as_nanos().div_ceil(self.rate.period().as_nanos().max(1));
                let remaining = items.get().saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX));
                Err(Refusal { remaining, wait })
            }
            Err(_never) => Err(Refusal { remaining: 0, wait: self.rate.period() * items.get() }),
        }
    }

    /// Forgets the buckets that have filled up, and gives their memory back.
    pub(super) fn sweep(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }

    /// Buckets that are kept.
    pub(super) fn len(&self) -> usize {
        self.limiter.len()
    }
}
