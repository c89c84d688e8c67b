//! The one path: every entrance (HTTP, the terminal, later protocols) makes a [`PredictRequest`] and calls
//! [`Predictor::predict`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    engine::InferError,
    error::{Error, MOST_VIOLATIONS, Violation},
    model::{Input, ModelId, ModelRef, Prediction, conform::Item},
    registry::{Loaded, Registry},
    telemetry::{labels::Stage, record::Record},
};

/// What a caller wants predicted.
#[derive(Debug)]
pub struct PredictRequest {
    /// Which model.
    pub model: ModelRef,
    /// The items, each with its JSON pointer in the caller's document.
    pub items: Vec<(String, Input)>,
    /// Nothing is run after this moment.
    pub deadline: Instant,
    /// Where facts and times are noted.
    pub record: Record,
}

/// What was predicted.
#[derive(Debug)]
pub struct Predictions {
    /// The model that answered.
    pub model: ModelId,
    /// What computed the answers.
    pub provider: &'static str,
    /// One per item, in order.
    pub predictions: Vec<Predicted>,
    /// From the request to the predictions.
    pub latency: Duration,
}

/// One answer.
#[derive(Debug)]
pub struct Predicted {
    /// The answer.
    pub prediction: Prediction,
    /// Whether it was known already.
    pub cached: bool,
}

/// Predicts with the models of a registry.
#[derive(Debug, Clone)]
pub struct Predictor {
    registry: Arc<Registry>,
}

impl Predictor {
    /// A predictor over whatever `registry` serves at the time of each request.
    pub const fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// Resolves the model, checks every item, runs what is to be run.
    ///
    /// # Errors
    /// `model_not_found`, `model_not_ready`; `invalid_input` naming each bad item; `overloaded`, `deadline_exceeded`,
    /// `internal`. All or nothing.
    pub async fn predict(&self, request: PredictRequest) -> Result<Predictions, Error> {
        let started = Instant::now();
        let loaded = self.registry.resolve(&request.model)?;
        let pointers: Vec<String> = request.items.iter().map(|(pointer, _)| pointer.clone()).collect();
        let id = loaded.model.id();
        request.record.note(|facts| {
            facts.model = Some((id.name.shared(), id.version.shared()));
            facts.provider = Some(loaded.manifest.provider.as_str());
            facts.batch_size = Some(pointers.len());
        });
        let checking = request.record.watch(Stage::Preprocess);
        let items = check(&loaded, request.items)?;
        drop(checking);
        let results = loaded.model.infer(items, request.deadline, &request.record).await;
        let predictions = all_or_nothing(results, &pointers)?;
        Ok(Predictions {
            model: loaded.model.id().clone(),
            provider: loaded.manifest.provider.as_str(),
            predictions: predictions.into_iter().map(|prediction| Predicted { prediction, cached: false }).collect(),
            latency: started.elapsed(),
        })
    }
}

/// Makes tensors of all items, or tells what is wrong with each of them.
fn check(loaded: &Loaded, inputs: Vec<(String, Input)>) -> Result<Vec<Item>, Error> {
    let mut items = Vec::with_capacity(inputs.len());
    let mut violations = Vec::new();
    for (pointer, input) in inputs {
        match loaded.model.check(input, &pointer) {
            Ok(item) => items.push(item),
            Err(found) => violations.extend(found),
        }
        if violations.len() >= MOST_VIOLATIONS {
            break;
        }
    }
    violations.truncate(MOST_VIOLATIONS);
    if violations.is_empty() { Ok(items) } else { Err(Error::Invalid(violations)) }
}

/// All predictions, or what was wrong with the items that the graph did not take.
fn all_or_nothing(results: Vec<Result<Prediction, InferError>>, pointers: &[String]) -> Result<Vec<Prediction>, Error> {
    let mut predictions = Vec::with_capacity(results.len());
    let mut violations = Vec::new();
    for (result, pointer) in results.into_iter().zip(pointers) {
        match result {
            Ok(prediction) => predictions.push(prediction),
            Err(InferError::Rejected) => violations.push(rejected(pointer)),
            Err(InferError::Other(error)) => return Err(error),
        }
    }
    violations.truncate(MOST_VIOLATIONS);
    if violations.is_empty() { Ok(predictions) } else { Err(Error::Invalid(violations)) }
}

/// The graph's own words stay in the log: they can quote the input.
fn rejected(pointer: &str) -> Violation {
    let detail = "the model cannot take this input: a shape or a value is outside of what its graph can compute";
    Violation::new(pointer, "rejected_by_model", detail)
}
