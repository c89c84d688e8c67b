//! A call for predictions: what the layers found out about it, what its headers ask for, and how it is let through to
//! the predictor. Every protocol's handlers start here.

use std::sync::Arc;

use axum::{extract::FromRequestParts, http::request::Parts};

use super::{cache_headers, context::Context, rate_limit, state::ApiState};
use crate::{
    cache::Policy,
    error::{Error, Violation},
    model::{Input, ModelRef},
    predict::{Pointer, PredictRequest, Predictions},
};

/// One request for predictions.
#[derive(Debug)]
pub(super) struct Call {
    /// What is known of it.
    pub context: Arc<Context>,
    state: ApiState,
    policy: Policy,
}

impl FromRequestParts<ApiState> for Call {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Error> {
        let context = Arc::clone(Context::of(&parts.extensions)?);
        Ok(Self { context, state: state.clone(), policy: cache_headers::policy(&parts.headers) })
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
        items: Vec<(Pointer, Input)>,
        list: &str,
    ) -> Result<Predictions, Error> {
        self.context.caller()?.check_model(&self.state, model.name.as_deref())?;
        let most = self.state.predict.max_batch_items;
        let admit = |rows| match rows <= most {
            true => rate_limit::charge_batch(&self.context, rows, list),
            false => {
                let detail = format!("the input has {rows} rows; at most {most} are allowed");
                Err(Error::Invalid(vec![Violation::new(list, "batch_too_large", detail)]))
            }
        };
        let (deadline, cache, record) = (self.context.deadline, self.policy, self.context.record.clone());
        let request = PredictRequest { model, items, deadline, cache, record, admit: &admit };
        self.state.predictor.predict(request).await
    }
}
