//! Quotas: how often a key may be used, and an address that shows none. The layers, and what batches are charged by.

mod account;
mod buckets;
mod headers;
mod in_flight;
mod limits;
mod payer;

use axum::{extract::Request, response::Response};

pub use self::limits::Limits;
pub(super) use self::{
    account::{Account, Permit},
    payer::{Payer, network},
};
use super::{context::Context, state::ApiState};
use crate::{error::Error, telemetry::labels::Stage};

/// Tells the caller what is left of the quota that was charged, whatever became of the request. Public routes charge
/// none.
pub(super) fn tell(context: &Context, response: &mut Response) {
    if let Some(account) = context.account.get() {
        account.tell(response.headers_mut());
    }
}

/// Charges who was not let in to the address: trying keys has a price. It is asked for only afterwards, so that a valid key
/// is never refused for what others do at its address. Returns what the caller is told.
pub(super) fn charge_stranger(state: &ApiState, request: &Request, context: &Context, refused: Error) -> Error {
    let (Some(limits), Error::Unauthenticated) = (&state.limits, &refused) else { return refused };
    let _watch = context.record.watch(Stage::RateLimit);
    let account = limits.account(request).map(|account| context.account.get_or_init(|| account));
    account.and_then(Account::charge).err().unwrap_or(refused)
}

/// Charges one item and takes a place among the caller's requests, before anything of the body is read.
///
/// The place is held until the answer is made: it bounds work. The bytes of answers that wait for their caller have a
/// bound of their own, `server.bodies_limit`, and so has their time.
///
/// # Errors
/// `rate_limited`
pub(super) fn admit<'a>(
    state: &ApiState,
    request: &Request,
    context: &'a Context,
) -> Result<Option<Permit<'a>>, Error> {
    let Some(limits) = &state.limits else { return Ok(None) };
    let _watch = context.record.watch(Stage::RateLimit);
    let account = limits.account(request)?;
    let account = context.account.get_or_init(|| account);
    account.charge()?;
    account.enter().map(Some)
}

/// Charges the items of a batch, all or none. The first was charged before its body was read.
///
/// # Errors
/// `invalid_input` at `pointer` for more than the quota ever allows at once; `rate_limited`.
pub(super) fn charge_batch(context: &Context, items: usize, pointer: &str) -> Result<(), Error> {
    let Some(account) = context.account.get().filter(|_| items > 1) else { return Ok(()) };
    let _watch = context.record.watch(Stage::RateLimit);
    account.charge_batch(items, pointer)
}
