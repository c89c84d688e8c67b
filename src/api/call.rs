//! A call for predictions: what the layers found out about it, what its headers ask for, and how it is let through to
//! the predictor. Every protocol's handlers start here.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{extract::FromRequestParts, http::request::Parts};

use super::{cache_headers, context::Context, rate_limit, state::ApiState};
use crate::{
    cache::Policy,
    error::{Error, Violation},
    model::{ModelRef, conform::NamedTensor},
    predict::{Asked, PredictRequest, Predictions},
    registry::Loaded,
    telemetry::labels::Protocol,
};

/// One request for predictions.
#[derive(Debug)]
pub(super) struct Call {
    /// What is known of it.
    pub context: Arc<Context>,
    state: ApiState,
    policy: Policy,
    deadline: Instant,
    /// What it is written in; the server's own protocol unless a handler says otherwise.
    pub protocol: Protocol,
}

impl FromRequestParts<ApiState> for Call {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Error> {
        let context = Arc::clone(Context::of(&parts.extensions)?);
        let deadline = context.deadline;
        Ok(Self {
            context,
            state: state.clone(),
            policy: cache_headers::policy(&parts.headers),
            deadline,
            protocol: Protocol::V1,
        })
    }
}

impl Call {
    /// How many elements of a tensor its body could hold: none takes less than a byte.
    pub(super) fn most_elements(&self) -> usize {
        usize::try_from(self.state.server.body_limit.as_u64()).unwrap_or(usize::MAX)
    }

    /// The caller gives it no more than `time`, from the request's head on.
    pub(super) fn end_within(&mut self, time: Duration) {
        let end = self.context.record.started().checked_add(time);
        self.deadline = end.map_or(self.deadline, |end| end.min(self.deadline));
    }

    /// The version that is meant, if this caller may use its model.
    ///
    /// # Errors
    /// `permission_denied`, `model_not_found`, `model_not_ready`.
    pub(super) fn resolve(&self, model: &ModelRef) -> Result<Arc<Loaded>, Error> {
        self.context.caller()?.check_model(&self.state, model.name.as_deref())?;
        self.state.predictor.resolve(model, 1)
    }

    /// The same for who wants to know of it, and not to be answered by it.
    ///
    /// # Errors
    /// `permission_denied`, `model_not_found`, `model_not_ready`.
    pub(super) fn find(&self, model: &ModelRef) -> Result<Arc<Loaded>, Error> {
        self.context.caller()?.check_model(&self.state, model.name.as_deref())?;
        self.state.registry.resolve(model)
    }

    /// Refuses more items than one request may have, before any of them is made of `inputs`.
    ///
    /// # Errors
    /// `invalid_input`
    pub(super) fn check_items(&self, loaded: &Loaded, inputs: &[NamedTensor]) -> Result<(), Error> {
        self.check_rows(loaded.model.items_in(inputs), "/inputs")
    }

    fn check_rows(&self, rows: usize, list: &str) -> Result<(), Error> {
        let most = self.state.predict.max_batch_items;
        if rows <= most {
            return Ok(());
        }
        let detail = format!("the input has {rows} rows; at most {most} are allowed");
        Err(Error::Invalid(vec![Violation::new(list, "batch_too_large", detail)]))
    }

    /// Predicts what is `asked`, if this caller may use the model and has quota
    /// for all rows in them. `list` points to where the items stand.
    ///
    /// # Errors
    /// `permission_denied`, `rate_limited`, `invalid_input` for too many rows, and those of [`Predictor::predict`](crate::predict::Predictor::predict).
    pub(super) async fn predict(&self, model: ModelRef, asked: Asked, list: &str) -> Result<Predictions, Error> {
        self.context.caller()?.check_model(&self.state, model.name.as_deref())?;
        let admit = |rows| {
            self.check_rows(rows, list)?;
            rate_limit::charge_batch(&self.context, rows, list)
        };
        let (deadline, cache, record) = (self.deadline, self.policy, self.context.record.clone());
        let request = PredictRequest { model, asked, protocol: self.protocol, deadline, cache, record, admit: &admit };
        let predicting = self.state.predictor.predict(request);
        if deadline >= self.context.deadline {
            // Kept by what is around every handler.
            return predicting.await;
        }
        tokio::time::timeout_at(deadline.into(), predicting).await.unwrap_or(Err(Error::DeadlineExceeded))
    }
}
