//! A call for predictions: what the layers found out about it, what its headers ask for, and how it is let through to
//! the predictor. Every protocol's handlers start here.

use std::time::Instant;

use axum::{extract::FromRequestParts, http::request::Parts};

use super::{auth::Caller, cache_headers, layers::Deadline, rate_limit::Quota, request_id::RequestId, state::ApiState};
use crate::{
    cache::Policy,
    error::{Error, Violation},
    model::{Input, ModelRef},
    predict::{PredictRequest, Predictions},
    telemetry::record::Record,
};

/// One request for predictions.
#[derive(Debug)]
pub(super) struct Call {
    /// The request's id.
    pub id: RequestId,
    /// What is known of the request.
    pub record: Record,
    state: ApiState,
    caller: Caller,
    quota: Quota,
    deadline: Instant,
    policy: Policy,
}

impl FromRequestParts<ApiState> for Call {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Error> {
        let missing = || Error::internal(anyhow::anyhow!("a layer is missing around this route"));
        let extensions = &parts.extensions;
        let id = extensions.get().cloned().ok_or_else(missing)?;
        let Deadline(deadline) = extensions.get().copied().ok_or_else(missing)?;
        Ok(Self {
            id,
            record: extensions.get().cloned().ok_or_else(missing)?,
            state: state.clone(),
            // Without this, a route that was left unguarded would let anyone in.
            caller: extensions.get().cloned().ok_or_else(missing)?,
            quota: Quota::of(extensions),
            deadline,
            policy: cache_headers::policy(&parts.headers),
        })
    }
}

impl Call {
    /// Predicts `items`, each with its pointer in the caller's document, if this caller may use the model and has quota
    /// for all rows in them. `list` points to where the items stand.
    ///
    /// # Errors
    /// `permission_denied`, `rate_limited`, `invalid_input` for too many rows, and those of [`Predictor::predict`](crate::predict::Predictor::predict).
    pub(super) async fn predict(
        &self,
        model: ModelRef,
        items: Vec<(String, Input)>,
        list: &str,
    ) -> Result<Predictions, Error> {
        self.caller.check_model(&self.state, model.name.as_deref())?;
        let most = self.state.predict.max_batch_items;
        let admit = |rows| match rows <= most {
            true => self.quota.charge_batch(rows, list),
            false => {
                let detail = format!("the input has {rows} rows; at most {most} are allowed");
                Err(Error::Invalid(vec![Violation::new(list, "batch_too_large", detail)]))
            }
        };
        let (deadline, cache, record) = (self.deadline, self.policy, self.record.clone());
        let request = PredictRequest { model, items, deadline, cache, record, admit: &admit };
        self.state.predictor.predict(request).await
    }
}
