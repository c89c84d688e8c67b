//! One model version, ready to run: from an [`Input`] to a [`Prediction`].
//!
//! [`Model::check`] makes tensors of an input, [`Model::infer`] gathers items into as few runs as the model allows,
//! waits for a free session, and makes predictions of the outputs.

mod batch;
mod clock;
mod intake;
pub mod library;
mod pool;
mod postprocess;
mod queue;
pub mod session;
mod stub;
mod text;
pub mod warmup;
pub mod weights;
pub mod words;

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::Context;
use futures_util::{StreamExt, stream};

use self::{
    clock::{Clock, Running},
    pool::{Admitted, PoolError},
    queue::Full,
    words::RunError,
};
pub use intake::Intake;
pub use pool::Pool;
pub use postprocess::Postprocess;
pub use queue::Limits;
pub use stub::Stub;
pub use text::{TextEncoder, TextFiles};

use crate::{
    error::{Error, Violation},
    model::{Input, ModelId, Prediction, Tensor, Value, conform::Item},
    telemetry::{labels::Stage, metrics::ModelMetrics, record::Record},
};

/// What computes the outputs.
#[derive(Debug)]
pub enum Backend {
    /// Threads that own ONNX Runtime sessions.
    Pool(Pool),
    /// Answers from the input's hash.
    Stub(Stub),
}

/// One model version, ready to run.
#[derive(Debug)]
pub struct Model {
    id: ModelId,
    intake: Intake,
    /// What makes tokens of texts, where the graph takes tokens.
    encoder: Option<TextEncoder>,
    /// Rows in one run; `None` runs every item by itself.
    max_batch_size: Option<usize>,
    backend: Backend,
    postprocess: Postprocess,
    metrics: OnceLock<ModelMetrics>,
}

/// Why an item got no prediction.
#[derive(Debug, Clone)]
pub enum InferError {
    /// The graph cannot take this item.
    Rejected,
    /// Everything else.
    Other(Error),
}

impl Model {
    /// Puts the parts of a model together.
    pub fn new(
        id: ModelId,
        intake: Intake,
        max_batch_size: Option<usize>,
        backend: Backend,
        postprocess: Postprocess,
    ) -> Self {
        Self { id, intake, encoder: None, max_batch_size, backend, postprocess, metrics: OnceLock::new() }
    }

    /// Name and version.
    pub const fn id(&self) -> &ModelId {
        &self.id
    }

    /// Makes tensors of `input`, which stands at `pointer` in the caller's document.
    ///
    /// # Errors
    /// All violations of what the model declares.
    pub fn check(&self, input: Input, pointer: &str) -> Result<Item, Vec<Violation>> {
        self.intake.check(input, pointer)
    }

    /// Sets the longest text, in characters.
    pub const fn limit_texts(&mut self, max_chars: usize) {
        self.intake.limit_texts(max_chars);
    }

    /// Sets what makes tokens of texts.
    pub fn encode_texts(&mut self, encoder: Option<TextEncoder>) {
        self.encoder = encoder;
    }

    /// What makes tokens of texts, where the graph takes tokens.
    pub const fn encoder(&self) -> Option<&TextEncoder> {
        self.encoder.as_ref()
    }

    /// Measures all runs from here on.
    pub fn measure(&self, metrics: ModelMetrics) {
        if let Backend::Pool(pool) = &self.backend {
            pool.measure(metrics.clone());
        }
        let _ = self.metrics.set(metrics);
    }

    /// Tells one prediction, or the reason for none, per item, by its position and as soon as it is known. Nothing is run
    /// after `deadline`, and nothing at all when there is no place for all of it. A bad item costs its neighbours nothing.
    /// Dropping the future ends what it asked for.
    pub async fn infer(
        &self,
        items: Vec<Item>,
        deadline: Instant,
        record: &Record,
        tell: &(dyn Fn(usize, Result<Prediction, InferError>) + Sync),
    ) {
        let Some(encoder) = &self.encoder else { return self.infer_tensors(items, deadline, record, tell).await };
        let (positions, items) = encode(encoder, items, record, tell).await;
        let tell = |index: usize, result| {
            if let Some(position) = positions.get(index) {
                tell(*position, result);
            }
        };
        self.infer_tensors(items, deadline, record, &tell).await;
    }

    async fn infer_tensors(
        &self,
        items: Vec<Item>,
        deadline: Instant,
        record: &Record,
        tell: &(dyn Fn(usize, Result<Prediction, InferError>) + Sync),
    ) {
        let batched = self.intake.has_batch_dimension();
        // The answer to a text has no batch dimension, however the graph is declared.
        let one_rows: Vec<bool> = items.iter().map(|item| (batched || item.length.is_some()) && !item.whole).collect();
        let runs = batch::plan(items, self.max_batch_size);
        let mut running = Running::new(record);
        let entry = match self.enter(runs.len(), deadline, &running.clock) {
            Ok(entry) => entry,
            Err(refused) => {
                return (0..one_rows.len())
                    .for_each(|position| tell(position, Err(InferError::Other(refused.clone()))));
            }
        };
        let mut done = pin!(stream::iter(runs).map(|run| self.run(run, &entry)).buffer_unordered(entry.at_once()));
        while let Some(outputs) = done.next().await {
            let started = Instant::now();
            for (position, values) in outputs {
                let one_row = one_rows.get(position).copied().unwrap_or_default();
                tell(position, values.and_then(|values| self.prediction(values, one_row)));
            }
            running.postprocessed(started.elapsed());
        }
    }

    fn prediction(&self, values: Vec<Value>, one_row: bool) -> Result<Prediction, InferError> {
        let prediction = self.postprocess.prediction(values, one_row).map_err(|error| self.internal(error))?;
        if let Some(metrics) = self.metrics.get().filter(|_| !prediction.is_finite()) {
            metrics.nonfinite.inc();
        }
        Ok(prediction)
    }

    fn enter(&self, runs: usize, deadline: Instant, clock: &Arc<Clock>) -> Result<Entry<'_>, Error> {
        match &self.backend {
            Backend::Stub(stub) => Ok(Entry::Stub(stub, Arc::clone(clock))),
            Backend::Pool(pool) => match pool.admit(runs, deadline, clock) {
                Ok(admitted) => Ok(Entry::Pool(pool, admitted)),
                Err(Full { retry_after, hasty: true }) => Err(Error::TooHasty { retry_after }),
                Err(Full { retry_after, hasty: false }) => {
                    let what = format!("the queue of model '{}'", self.id.name);
                    Err(Error::Overloaded { what, retry_after: Some(retry_after) })
                }
            },
        }
    }

    async fn run(&self, run: batch::Run, entry: &Entry<'_>) -> Vec<Outputs> {
        let (members, inputs) = run.into_parts();
        let rows = members.iter().map(|member| member.rows).sum();
        if let [only] = &*members {
            return vec![(only.position, self.execute(inputs, rows, entry).await)];
        }
        let failed = |error: &InferError| members.iter().map(|member| (member.position, Err(error.clone()))).collect();
        match self.execute(inputs.clone(), rows, entry).await {
            Ok(values) => match batch::scatter(&members, &values) {
                Ok(outputs) => outputs.into_iter().map(|(position, values)| (position, Ok(values))).collect(),
                Err(error) => failed(&self.internal(error)),
            },
            Err(InferError::Rejected) => self.one_by_one(&members, &inputs, entry).await,
            Err(error) => failed(&error),
        }
    }

    /// Runs the members of a rejected run each alone: one of them may be to blame, or the graph takes fewer rows than
    /// the model's batch size says.
    async fn one_by_one(&self, members: &[batch::Member], inputs: &[Tensor], entry: &Entry<'_>) -> Vec<Outputs> {
        let mut outputs = Vec::with_capacity(members.len());
        for member in members {
            let rows = |tensor: &Tensor| tensor.rows(member.from, member.rows);
            let alone = inputs.iter().map(rows).collect::<Option<Vec<_>>>().context("rows are missing");
            let result = match alone {
                Ok(alone) => self.execute(alone, member.rows, entry).await,
                Err(error) => Err(self.internal(error)),
            };
            outputs.push((member.position, result));
        }
        outputs
    }

    async fn execute(&self, inputs: Vec<Tensor>, rows: usize, entry: &Entry<'_>) -> Result<Vec<Value>, InferError> {
        match entry {
            Entry::Stub(stub, clock) => {
                let started = Instant::now();
                clock.started(Duration::ZERO);
                let outputs = stub.run(&inputs);
                clock.ran(started.elapsed());
                if let Some(metrics) = self.metrics.get() {
                    metrics.ran(Duration::ZERO, started.elapsed(), rows);
                }
                Ok(outputs)
            }
            Entry::Pool(pool, admitted) => pool.run(admitted, inputs, rows).await.map_err(|error| self.explain(error)),
        }
    }

    fn explain(&self, error: PoolError) -> InferError {
        InferError::Other(match error {
            PoolError::Run(RunError::Rejected(cause)) => {
                tracing::warn!(model = %self.id, cause, "the graph rejected an input that fits its declaration");
                return InferError::Rejected;
            }
            PoolError::Expired => Error::DeadlineExceeded,
            PoolError::Run(error @ RunError::Failed(_)) => {
                Error::internal(anyhow::Error::new(error).context(format!("model '{}'", self.id)))
            }
            PoolError::Lost => Error::internal(anyhow::anyhow!("model '{}' lost its inference thread", self.id)),
        })
    }

    fn internal(&self, error: anyhow::Error) -> InferError {
        InferError::Other(Error::internal(error.context(format!("model '{}'", self.id))))
    }
}

/// Makes tokens of the items that are texts, and tells of those that have none. The others keep their positions.
async fn encode(
    encoder: &TextEncoder,
    items: Vec<Item>,
    record: &Record,
    tell: &(dyn Fn(usize, Result<Prediction, InferError>) + Sync),
) -> (Vec<usize>, Vec<Item>) {
    let _watch = record.watch(Stage::Preprocess);
    let mut kept = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
    for (position, item) in encoder.encode(items).await.into_iter().enumerate() {
        match item {
            Ok(item) => {
                kept.0.push(position);
                kept.1.push(item);
            }
            Err(error) => tell(position, Err(InferError::Other(error))),
        }
    }
    kept
}

/// What runs a request that was let in.
enum Entry<'a> {
    Pool(&'a Pool, Admitted),
    Stub(&'a Stub, Arc<Clock>),
}

impl Entry<'_> {
    /// Runs that are worth having at the same time.
    const fn at_once(&self) -> usize {
        match self {
            Self::Pool(pool, _) => pool.instances(),
            Self::Stub(..) => 1,
        }
    }
}

/// An item's position, and what the graph gave for it.
type Outputs = (usize, Result<Vec<Value>, InferError>);
