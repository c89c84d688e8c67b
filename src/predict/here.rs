//! Runs in this process.

use std::{sync::Arc, time::Instant};

use futures_util::FutureExt;

use crate::{
    cache::{Compute, Sink},
    engine::InferError,
    error::{Error, Violation},
    model::{Prediction, conform::Item},
    registry::Loaded,
    telemetry::record::Record,
};

/// How the cache has items run that it does not know.
pub(super) fn runs(loaded: &Arc<Loaded>, deadline: Instant, record: &Record) -> Compute {
    let (loaded, record) = (Arc::clone(loaded), record.clone());
    Arc::new(move |items, sink| {
        let (loaded, record) = (Arc::clone(&loaded), record.clone());
        async move { infer(&loaded, items, deadline, &record, &sink).await }.boxed()
    })
}

async fn infer(loaded: &Loaded, items: Vec<Item>, deadline: Instant, record: &Record, sink: &Sink) {
    let tell = |position: usize, result: Result<Prediction, InferError>| {
        let failure = |error| match error {
            InferError::Rejected => rejected(),
            InferError::Other(error) => error,
        };
        sink(position, result.map_err(failure));
    };
    loaded.model.infer(items, deadline, record, &tell).await;
}

/// The graph's own words stay in the log: they can quote the input. The pointer is empty, because equal items of several
/// callers share this answer; each puts its own in front.
pub(super) fn rejected() -> Error {
    let detail = "the model cannot take this input: a shape or a value is outside of what its graph can compute";
    Error::Invalid(vec![Violation::new("", "rejected_by_model", detail)])
}
