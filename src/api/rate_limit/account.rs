//! One payer's quota during one request: charging it, and saying so when it is used up.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::http::HeaderMap;

use super::{buckets::Rate, headers::Standing, limits::Limits, payer::Payer};
use crate::{
    error::{Error, Violation},
    keys::Plan,
};

/// For requests at the same time nobody knows when one of them ends; most take far less.
const A_MOMENT: Duration = Duration::from_secs(1);

/// What one request is charged to.
#[derive(Debug)]
pub(in crate::api) struct Account {
    limits: Arc<Limits>,
    pub(super) payer: Payer,
    plan: Arc<Plan>,
    /// What was left after the last charge.
    remaining: AtomicU32,
}

/// One of the payer's requests at the same time, until it is dropped.
#[derive(Debug)]
pub(in crate::api) struct Permit<'a>(&'a Account);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.limits.leave(&self.0.payer);
    }
}

impl Account {
    pub(super) const fn new(limits: Arc<Limits>, payer: Payer, plan: Arc<Plan>) -> Self {
        Self { limits, payer, plan, remaining: AtomicU32::new(0) }
    }

    /// Tells the payer what is left. Who has an account was charged.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let remaining = self.remaining.load(Ordering::Relaxed);
        Standing { plan: &self.plan, remaining }.write(headers, self.limits.legacy_headers);
    }

    /// Charges a request, which is one item until more is known of it.
    ///
    /// # Errors
    /// `rate_limited`
    pub(super) fn charge(&self) -> Result<(), Error> {
        self.take(NonZeroU32::MIN, 0)
    }

    /// Charges the further items of a request that was charged as one.
    ///
    /// # Errors
    /// `invalid_input` at `pointer` when a full bucket does not hold so many; `rate_limited` until all of them would be
    /// let in, the first one too.
    pub(super) fn charge_batch(&self, items: usize, pointer: &str) -> Result<(), Error> {
        let burst = Rate::of(&self.plan).burst();
        let Some(items) = u32::try_from(items).ok().filter(|items| *items <= burst) else {
            let detail = format!("the batch has {items} items; the quota '{}' allows {burst} at once", self.plan.name);
            return Err(Error::Invalid(vec![Violation::new(pointer, "batch_exceeds_quota", detail)]));
        };
        NonZeroU32::new(items.saturating_sub(1)).map_or(Ok(()), |further| self.take(further, 1))
    }

    /// Takes a place among the payer's requests at the same time.
    ///
    /// # Errors
    /// `rate_limited`
    pub(super) fn enter(&self) -> Result<Permit<'_>, Error> {
        if self.limits.enter(&self.payer, &self.plan) {
            return Ok(Permit(self));
        }
        let Plan { name, concurrent, .. } = &*self.plan;
        Err(self.refused(format!("the quota '{name}' allows {concurrent} requests at the same time"), A_MOMENT))
    }

    /// `paid` items of the same request were taken before, and will have to be again.
    fn take(&self, items: NonZeroU32, paid: u32) -> Result<(), Error> {
        let taken = self.limits.take(&self.payer, &self.plan, items);
        let remaining = taken.unwrap_or_else(|refusal| refusal.remaining);
        self.remaining.store(remaining, Ordering::Relaxed);
        taken.map(drop).map_err(|refusal| {
            let Plan { name, rate, burst, .. } = &*self.plan;
            let detail = format!("the quota '{name}' of {rate} items per second and {burst} at once is used up");
            self.refused(detail, refusal.wait + Rate::of(&self.plan).period() * paid)
        })
    }

    fn refused(&self, detail: String, retry_after: Duration) -> Error {
        self.limits.metrics.callers.limited(&self.plan.name);
        Error::RateLimited { detail, retry_after }
    }
}
