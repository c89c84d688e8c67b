//! Quotas: how often a key may be used, and an address that shows none. The layers, and what batches are charged by.

mod account;
mod buckets;
mod headers;
mod in_flight;
mod limits;
mod payer;

use axum::{extract::Request, http::Extensions, response::Response};

use self::account::Account;
pub use self::limits::Limits;
pub(super) use self::{headers::Told, in_flight::Permit};
use super::state::ApiState;
use crate::{
    error::Error,
    telemetry::{labels::Stage, record::Record},
};

/// Tells the caller what is left of the quota that was charged, whatever became of the request. Public routes charge
/// none.
pub(super) fn tell(state: &ApiState, told: &Told, response: &mut Response) {
    let Some(limits) = &state.limits else { return };
    if let Some(standing) = told.last() {
        standing.write(response.headers_mut(), limits.legacy_headers);
    }
}

/// Charges who was not let in to the address: trying keys has a price. It is asked for only afterwards, so that a valid key
/// is never refused for what others do at its address. Returns what the caller is told.
pub(super) fn charge_stranger(state: &ApiState, request: &Request, refused: Error) -> Error {
    let (Some(limits), Error::Unauthenticated) = (&state.limits, &refused) else { return refused };
    let _watch = request.extensions().get::<Record>().map(|record| record.watch(Stage::RateLimit));
    limits.account(request).and_then(|account| account.charge()).err().unwrap_or(refused)
}

/// Charges one item and takes a place among the caller's requests, before anything of the body is read.
///
/// The place is held until the answer is made: it bounds work. The bytes of answers that wait for their caller have a
/// bound of their own, `server.bodies_limit`, and so has their time.
///
/// # Errors
/// `rate_limited`
pub(super) fn admit(state: &ApiState, request: &mut Request) -> Result<Option<Permit>, Error> {
    let Some(limits) = &state.limits else { return Ok(None) };
    let watch = request.extensions().get::<Record>().map(|record| record.watch(Stage::RateLimit));
    let account = limits.account(request)?;
    account.charge()?;
    let place = account.enter()?;
    drop(watch);
    request.extensions_mut().insert(account);
    Ok(Some(place))
}

/// The quota that a request was charged to, for handlers who find out that it costs more.
#[derive(Debug)]
pub(super) struct Quota {
    account: Option<Account>,
    record: Option<Record>,
}

impl Quota {
    /// What was charged, as the layers left it in a request's extensions.
    pub(super) fn of(extensions: &Extensions) -> Self {
        Self { account: extensions.get().cloned(), record: extensions.get().cloned() }
    }

    /// Charges the items of a batch, all or none. The first was charged before its body was read.
    ///
    /// # Errors
    /// `invalid_input` at `pointer` for more than the quota ever allows at once; `rate_limited`.
    pub(super) fn charge_batch(&self, items: usize, pointer: &str) -> Result<(), Error> {
        let _watch = self.record.as_ref().map(|record| record.watch(Stage::RateLimit));
        self.account.as_ref().map_or(Ok(()), |account| account.charge_batch(items, pointer))
    }
}
