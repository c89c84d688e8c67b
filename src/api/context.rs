//! What the entrance knows of one request: made by the first layer, filled in by those inside of it, read by handlers. One
//! value, because everything that is put into a request by itself takes memory of its own.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Instant,
};

use axum::{
    extract::{FromRequestParts, Request},
    http::{Extensions, request::Parts},
};

use super::{auth::Caller, rate_limit::Account, request_id::RequestId, state::ApiState};
use crate::{error::Error, telemetry::record::Record};

/// What is known of one request.
#[derive(Debug)]
pub(super) struct Context {
    /// Names it.
    pub id: RequestId,
    /// Who, which model, how long: for the log line and the metrics.
    pub record: Record,
    /// The address that it comes from; none in tests that have no connection. IPv4 is never dressed as IPv6.
    pub client: Option<IpAddr>,
    /// The moment after which nobody waits for the answer any more.
    pub deadline: Instant,
    /// The media type in which a failure is told.
    pub failures: &'static str,
    /// Who sent it, once they were let in.
    pub caller: OnceLock<Caller>,
    /// What it is charged to, once it is.
    pub account: OnceLock<Account>,
}

impl Context {
    /// A request of which nobody knows yet who sent it.
    pub(super) const fn new(
        id: RequestId,
        record: Record,
        client: Option<IpAddr>,
        deadline: Instant,
        failures: &'static str,
    ) -> Self {
        Self { id, record, client, deadline, failures, caller: OnceLock::new(), account: OnceLock::new() }
    }

    /// What the layers left in a request.
    ///
    /// # Errors
    /// `internal`, where they are missing.
    pub(super) fn of(extensions: &Extensions) -> Result<&Arc<Self>, Error> {
        extensions.get().ok_or_else(missing)
    }

    /// Puts it where handlers find it.
    pub(super) fn enter(self, request: &mut Request) -> Arc<Self> {
        let context = Arc::new(self);
        request.extensions_mut().insert(Arc::clone(&context));
        context
    }

    /// Who sent it.
    ///
    /// # Errors
    /// `internal`, where nobody asked: a route that was left unguarded lets nobody in.
    pub(super) fn caller(&self) -> Result<&Caller, Error> {
        self.caller.get().ok_or_else(missing)
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Error> {
        Context::of(&parts.extensions)?.caller().cloned()
    }
}

fn missing() -> Error {
    Error::internal(anyhow::anyhow!("a layer is missing around this route"))
}
