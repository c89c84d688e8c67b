//! The one path: every entrance (HTTP, the terminal, later protocols) makes a [`PredictRequest`] and calls
//! [`Predictor::predict`].

mod elsewhere;
mod here;
mod noted;
mod outcome;
mod outputs;

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::outputs::{LentTensor, OutputTensor};
use self::{
    noted::Noted,
    outcome::{Answers, Outcome},
};
use crate::{
    cache::{self, Cache, Compute, Found, Policy, Question, Summary},
    error::{Error, MOST_VIOLATIONS, Violation},
    history::History,
    model::{
        Input, ModelRef, Prediction, Tensor,
        conform::{Item, NamedTensor},
    },
    queue::Queue,
    registry::{Elsewhere, Loaded, Registry},
    telemetry::{
        labels::{Protocol, Source, Stage},
        metrics::Metrics,
        record::{Record, Shapes},
    },
};

/// A place in a caller's document; that of an only item is known before any request comes.
pub type Pointer = Cow<'static, str>;

/// What a caller wants predicted.
pub struct PredictRequest<'a> {
    /// Which model.
    pub model: ModelRef,
    /// What of it.
    pub asked: Asked,
    /// What it was written in.
    pub protocol: Protocol,
    /// Nothing is run after this moment.
    pub deadline: Instant,
    /// Whether known answers will do, and whether new ones are kept.
    pub cache: Policy,
    /// Learns which model it is, and where the time goes.
    pub record: Record,
    /// Asked once, before anything is run, whether so many rows may be.
    pub admit: &'a (dyn Fn(usize) -> Result<(), Error> + Sync),
}

/// What a caller sends, and the form in which answers are wanted.
#[derive(Debug)]
pub enum Asked {
    /// Items, each with its JSON pointer in the caller's document. What comes back is what the model's task makes of them.
    Items(Vec<(Pointer, Input)>),
    /// Tensors by name, with their whole shapes. What comes back are the outputs themselves: see [`Predictions::outputs`].
    Tensors {
        /// What is sent.
        inputs: Vec<NamedTensor>,
        /// The outputs that are wanted; all when empty.
        outputs: Vec<String>,
    },
}

/// What was predicted.
#[derive(Debug)]
pub struct Predictions {
    /// The version that answered.
    pub loaded: Arc<Loaded>,
    /// One per item, in order.
    pub predictions: Vec<Predicted>,
    /// What the cache did; nothing where there is none.
    pub cache: Option<Summary>,
    /// From the request to the predictions.
    pub latency: Duration,
}

/// One answer.
#[derive(Debug)]
pub struct Predicted {
    /// The answer.
    pub prediction: Arc<Prediction>,
    /// Whether it was known already.
    pub cached: bool,
}

/// Predicts with the models of a registry.
#[derive(Debug, Clone)]
pub struct Predictor {
    registry: Arc<Registry>,
    cache: Arc<Cache>,
    history: Option<Arc<History>>,
    /// To the workers; nothing where models are run here.
    queue: Option<Arc<Queue>>,
    metrics: Arc<Metrics>,
}

impl Predictor {
    /// A predictor over whatever `registry` serves at the time of each request.
    pub const fn new(
        registry: Arc<Registry>,
        cache: Arc<Cache>,
        history: Option<Arc<History>>,
        queue: Option<Arc<Queue>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { registry, cache, history, queue, metrics }
    }

    /// Resolves the model, checks every item, looks for known answers, runs what is to be run, and tells the
    /// history.
    ///
    /// # Errors
    /// `model_not_found`, `model_not_ready`; `invalid_input` naming each bad item; `overloaded`, `deadline_exceeded`,
    /// `not_cached`, `internal`. All or nothing.
    pub async fn predict(&self, request: PredictRequest<'_>) -> Result<Predictions, Error> {
        let started = Instant::now();
        let loaded = self.resolve(&request.model, request.asked.len())?;
        let items = request.asked.items(&loaded);
        loaded.metrics.asked(request.protocol);
        request.record.note(|facts| {
            facts.protocol = Some(request.protocol);
            facts.model = Some(Arc::clone(&loaded.metrics.served));
            facts.provider = Some(loaded.manifest.provider.as_str());
            facts.batch_size = Some(items);
        });
        let record = request.record.clone();
        let outcome =
            Outcome { loaded: &loaded, record: &record, started, items, deadline: request.deadline, told: false };
        let (found, cache, noted) = outcome.tell(self.answer(&loaded, request).await)?;
        let predicted = |found: Found| Predicted {
            prediction: found.stored.prediction,
            cached: matches!(found.source, Source::Memory | Source::Redis),
        };
        let predictions = found.into_iter().map(predicted).collect();
        let predictions = Predictions { loaded, predictions, cache, latency: started.elapsed() };
        if let Some(history) = &self.history {
            noted.tell(history, &predictions, &record);
        }
        Ok(predictions)
    }

    /// Finds the version that a request for so many items means, or counts that there is none.
    ///
    /// # Errors
    /// `model_not_found`, `model_not_ready`, `malformed_request`.
    pub fn resolve(&self, model: &ModelRef, items: usize) -> Result<Arc<Loaded>, Error> {
        let resolved = self.registry.resolve(model);
        resolved.inspect_err(|error| self.metrics.unknown_model.failed(error.code(), items))
    }

    async fn answer(&self, loaded: &Arc<Loaded>, request: PredictRequest<'_>) -> Result<Answers, Error> {
        let PredictRequest { asked, deadline, cache: policy, record, admit, .. } = request;
        let (form, as_lists) = match &asked {
            Asked::Items(_) => (&loaded.form, true),
            Asked::Tensors { .. } => (&loaded.tensor_form, false),
        };
        let inputs = self.inputs(&asked);
        let checking = record.watch(Stage::Preprocess);
        let (pointers, items) = check(loaded, asked)?;
        drop(checking);
        if let Some(first) = items.first() {
            record.note(|facts| facts.shapes = Some(Shapes::of(first.tensors.iter().map(Tensor::shape))));
        }
        let rows = rows(loaded, &items);
        admit(rows)?;
        let (keys, items) = match &self.history {
            None => (Vec::new(), items),
            Some(_) => cache::keys(&loaded.fingerprint, items).await,
        };
        let noted = Noted { keys, inputs };
        let shared = loaded.manifest.cache.enabled;
        let bypassed = !shared || !policy.looks_up();
        let fingerprint = shared.then_some(&loaded.fingerprint);
        let question = Question { fingerprint, form, items, keys: &noted.keys, policy, record: &record };
        let found = self.cache.fetch(question, || self.runs(loaded, deadline, &record)).await;
        let found = all_or_nothing(found, &pointers)?;
        if as_lists {
            check_shapes(&found, &pointers)?;
        }
        let summary = self.cache.summary(bypassed, found.iter());
        record.note(|facts| facts.cache = summary.map(|summary| summary.word()));
        Ok(Answers { found, cache: summary, rows, noted })
    }

    /// How the cache has items run that it does not know.
    fn runs(&self, loaded: &Arc<Loaded>, deadline: Instant, record: &Record) -> Compute {
        match (&self.queue, &loaded.elsewhere) {
            (Some(queue), Some(Elsewhere { fingerprint, .. })) => {
                elsewhere::runs(queue, loaded, fingerprint, deadline, record)
            }
            _ => here::runs(loaded, deadline, record),
        }
    }

    /// The tokens of all `texts`, special ones included; none where the graph takes texts.
    ///
    /// # Errors
    /// `invalid_input` for a text without any; `internal`; where workers count them, also `overloaded`, `deadline_exceeded`
    /// and `dependency_unavailable`.
    pub async fn tokens_in(
        &self,
        loaded: &Loaded,
        texts: Vec<String>,
        deadline: Instant,
        record: &Record,
    ) -> Result<usize, Error> {
        match (&self.queue, &loaded.elsewhere) {
            (Some(queue), Some(Elsewhere { fingerprint, .. })) if loaded.max_tokens.is_some() => {
                let version = elsewhere::version(loaded, fingerprint);
                queue.count_tokens(version, texts, deadline, record).await
            }
            _ => loaded.model.tokens_in(texts).await,
        }
    }

    /// What was sent, where the history keeps that.
    fn inputs(&self, asked: &Asked) -> Vec<Input> {
        let kept = self.history.as_ref().is_some_and(|history| history.stores_inputs());
        match asked {
            Asked::Items(items) if kept => items.iter().map(|(_, input)| input.clone()).collect(),
            // Tensors are known by their hashes alone: they can be megabytes.
            _ => Vec::new(),
        }
    }
}

/// What a request asks of the model: an item may bring several rows, where rows are independent of each other. Where they
/// are not, the first dimension is something else, and an item is an item.
fn rows(loaded: &Loaded, items: &[Item]) -> usize {
    match loaded.max_batch_size {
        Some(_) => items.iter().map(|item| item.rows.max(1)).sum(),
        None => items.len(),
    }
}

impl Asked {
    /// As many items as can be told without a model.
    fn len(&self) -> usize {
        match self {
            Self::Items(items) => items.len(),
            Self::Tensors { .. } => 1,
        }
    }

    /// How many items become of it.
    fn items(&self, loaded: &Loaded) -> usize {
        match self {
            Self::Items(items) => items.len(),
            Self::Tensors { inputs, .. } => loaded.model.items_in(inputs),
        }
    }
}

/// Makes tensors of all items, or tells what is wrong with each of them.
fn check(loaded: &Loaded, asked: Asked) -> Result<(Vec<Pointer>, Vec<Item>), Error> {
    match asked {
        Asked::Items(items) => {
            let pointers = items.iter().map(|(pointer, _)| pointer.clone()).collect();
            Ok((pointers, check_items(loaded, items)?))
        }
        Asked::Tensors { inputs, outputs } => {
            outputs::check(&loaded.interface, &outputs)?;
            let items = loaded.model.check_tensors(inputs).map_err(Error::Invalid)?;
            let pointers = match items.len() {
                1 => vec!["/inputs".into()],
                several => (0..several).map(|index| format!("/inputs/0/data/{index}").into()).collect(),
            };
            Ok((pointers, items))
        }
    }
}

fn check_items(loaded: &Loaded, inputs: Vec<(Pointer, Input)>) -> Result<Vec<Item>, Error> {
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

/// Refuses answers that have no form as JSON: a graph can give a shape of more lists than memory, with nothing in them.
fn check_shapes(found: &[Found], pointers: &[Pointer]) -> Result<(), Error> {
    let violation = |(found, pointer): (&Found, &Pointer)| {
        let shape = found.stored.prediction.endless_shape()?;
        let detail = format!("the model answers this with shape {shape:?}, which is too many lists of nothing");
        Some(Violation::new(pointer.clone(), "too_many_lists", detail))
    };
    let violations: Vec<_> = found.iter().zip(pointers).filter_map(violation).take(MOST_VIOLATIONS).collect();
    if violations.is_empty() { Ok(()) } else { Err(Error::Invalid(violations)) }
}

/// The answers to all items; or every fault that was found in them, each at its item; or the failure that was none of
/// theirs.
fn all_or_nothing(found: Vec<Result<Found, Error>>, pointers: &[Pointer]) -> Result<Vec<Found>, Error> {
    let mut answers = Vec::with_capacity(found.len());
    let mut violations = Vec::new();
    let mut invalid = false;
    for (found, pointer) in found.into_iter().zip(pointers) {
        match found {
            Ok(found) => answers.push(found),
            Err(Error::Invalid(found)) => {
                invalid = true;
                let place = |violation: Violation| Violation {
                    pointer: format!("{pointer}{}", violation.pointer),
                    ..violation
                };
                violations.extend(found.into_iter().map(place));
            }
            Err(error) => return Err(error),
        }
    }
    violations.truncate(MOST_VIOLATIONS);
    if invalid { Err(Error::Invalid(violations)) } else { Ok(answers) }
}
