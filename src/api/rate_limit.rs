//! Quotas: how often a key may be used, and an address that shows none. The layers, and what batches are charged by.

mod account;
mod buckets;
mod headers;
mod in_flight;
mod limits;
mod payer;

use axum::{
    extract::{Request, State},
    http::{Extensions, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};

pub use self::limits::Limits;
use self::{account::Account, headers::Told, in_flight::Permit};
use super::state::ApiState;
use crate::{
    error::Error,
    telemetry::{labels::Stage, record::Record},
};

/// Tells the caller what is left of the quota that was charged, whatever became of the request. Public routes charge
/// none.
pub(super) async fn tell(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let Some(limits) = &state.limits else { return next.run(request).await };
    let told = Told::default();
    request.extensions_mut().insert(told.clone());
    let mut response = next.run(request).await;
    if let Some(standing) = told.last() {
        standing.write(response.headers_mut(), limits.legacy_headers);
    }
    response
}

/// Charges who was not let in to the address: trying keys has a price. Stands outside of authentication, and asks for the
/// price only afterwards, so that a valid key is never refused for what others do at its address.
pub(super) async fn charge_strangers(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let Some(limits) = &state.limits else { return next.run(request).await };
    let account = match limits.account(&request) {
        Ok(account) => account,
        Err(error) => return error.into_response(),
    };
    let record = request.extensions().get::<Record>().cloned();
    let response = next.run(request).await;
    if response.status() != StatusCode::UNAUTHORIZED {
        return response;
    }
    let _watch = record.as_ref().map(|record| record.watch(Stage::RateLimit));
    account.charge().map_or_else(Error::into_response, |()| response)
}

/// Charges one item and takes a place among the caller's requests, before anything of the body is read.
///
/// The place is held until the answer is made: it bounds work. The bytes of answers that wait for their caller have a
/// bound of their own, `server.bodies_limit`, and so has their time.
pub(super) async fn admit(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let Some(limits) = &state.limits else { return next.run(request).await };
    match admitted(limits, &request) {
        Ok((account, _place)) => {
            request.extensions_mut().insert(account);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

fn admitted(limits: &std::sync::Arc<Limits>, request: &Request) -> Result<(Account, Permit), Error> {
    let _watch = request.extensions().get::<Record>().map(|record| record.watch(Stage::RateLimit));
    let account = limits.account(request)?;
    account.charge()?;
    let place = account.enter()?;
    Ok((account, place))
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
