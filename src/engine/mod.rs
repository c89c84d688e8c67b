//! One model version, ready to run: from an [`Input`] to a [`Prediction`].
//!
//! [`Model::check`] makes tensors of an input, [`Model::infer`] gathers items into as few runs as the model allows,
//! waits for a free session, and makes predictions of the outputs.

mod batch;
mod intake;
pub mod library;
mod pool;
mod postprocess;
pub mod session;
mod stub;
pub mod warmup;
pub mod weights;
pub mod words;

use std::{pin::pin, time::Instant};

use anyhow::Context;
use futures_util::{StreamExt, stream};

pub use intake::Intake;
pub use pool::Pool;
pub use postprocess::Postprocess;
pub use stub::Stub;

use crate::{
    error::{Error, Violation},
    model::{Input, ModelId, Prediction, Tensor, Value, conform::Item},
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
    /// Rows in one run; `None` runs every item by itself.
    max_batch_size: Option<usize>,
    backend: Backend,
    postprocess: Postprocess,
}

/// Why items got no predictions.
#[derive(Debug)]
pub enum InferError {
    /// The graph cannot take these items, by their position.
    Rejected(Vec<usize>),
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
        Self { id, intake, max_batch_size, backend, postprocess }
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

    /// One prediction per item, in order. Nothing is run after `deadline`.
    ///
    /// # Errors
    /// See [`InferError`]; one failed run fails all items.
    pub async fn infer(&self, items: Vec<Item>, deadline: Instant) -> Result<Vec<Prediction>, InferError> {
        let wholes: Vec<bool> = items.iter().map(|item| item.whole).collect();
        let runs = batch::plan(items, self.max_batch_size);
        let at_once = match &self.backend {
            Backend::Pool(pool) => pool.instances(),
            Backend::Stub(_) => 1,
        };
        let mut done = pin!(stream::iter(runs).map(|run| self.run(run, deadline)).buffer_unordered(at_once));
        let (mut outputs, mut rejected) = (Vec::new(), Vec::new());
        while let Some(result) = done.next().await {
            match result {
                Ok(values) => outputs.extend(values),
                // The other runs go on, so that every bad item is named.
                Err(InferError::Rejected(positions)) => rejected.extend(positions),
                Err(error @ InferError::Other(_)) => return Err(error),
            }
        }
        if !rejected.is_empty() {
            rejected.sort_unstable();
            return Err(InferError::Rejected(rejected));
        }
        outputs.sort_unstable_by_key(|(position, _)| *position);
        let batched = self.intake.has_batch_dimension();
        let predictions = outputs
            .into_iter()
            .zip(wholes)
            .map(|((_, values), whole)| self.postprocess.prediction(values, batched && !whole));
        predictions.collect::<anyhow::Result<_>>().map_err(|error| self.internal(error))
    }

    async fn run(&self, run: batch::Run, deadline: Instant) -> Result<Vec<(usize, Vec<Value>)>, InferError> {
        let (members, inputs) = run.into_parts();
        if let [only] = &*members {
            let values = self.execute(inputs, deadline).await.map_err(|error| match error {
                ExecuteError::Rejected => InferError::Rejected(vec![only.position]),
                ExecuteError::Other(error) => InferError::Other(error),
            })?;
            return Ok(vec![(only.position, values)]);
        }
        match self.execute(inputs.clone(), deadline).await {
            Ok(values) => batch::scatter(&members, &values).map_err(|error| self.internal(error)),
            Err(ExecuteError::Other(error)) => Err(InferError::Other(error)),
            Err(ExecuteError::Rejected) => self.one_by_one(&members, &inputs, deadline).await,
        }
    }

    /// Runs the members of a rejected run each alone: one of them may be to blame, or the graph takes fewer rows than
    /// the model's batch size says.
    async fn one_by_one(
        &self,
        members: &[batch::Member],
        inputs: &[Tensor],
        deadline: Instant,
    ) -> Result<Vec<(usize, Vec<Value>)>, InferError> {
        let (mut outputs, mut rejected) = (Vec::with_capacity(members.len()), Vec::new());
        for member in members {
            let rows = |tensor: &Tensor| tensor.rows(member.from, member.rows);
            let alone = inputs.iter().map(rows).collect::<Option<Vec<_>>>().context("rows are missing");
            match self.execute(alone.map_err(|error| self.internal(error))?, deadline).await {
                Ok(values) => outputs.push((member.position, values)),
                Err(ExecuteError::Rejected) => rejected.push(member.position),
                Err(ExecuteError::Other(error)) => return Err(InferError::Other(error)),
            }
        }
        if rejected.is_empty() { Ok(outputs) } else { Err(InferError::Rejected(rejected)) }
    }

    async fn execute(&self, inputs: Vec<Tensor>, deadline: Instant) -> Result<Vec<Value>, ExecuteError> {
        match &self.backend {
            Backend::Stub(stub) => Ok(stub.run(&inputs)),
            Backend::Pool(pool) => pool.run(inputs, deadline).await.map_err(|error| self.explain(error)),
        }
    }

    fn explain(&self, error: pool::PoolError) -> ExecuteError {
        use pool::PoolError;
        let other = match error {
            PoolError::Run(words::RunError::Rejected(cause)) => {
                tracing::warn!(model = %self.id, cause, "the graph rejected an input that fits its declaration");
                return ExecuteError::Rejected;
            }
            PoolError::Full => {
                Error::Overloaded { what: format!("the queue of model '{}'", self.id.name), retry_after: None }
            }
            PoolError::Expired => Error::DeadlineExceeded,
            PoolError::Run(error @ words::RunError::Failed(_)) => {
                Error::internal(anyhow::Error::new(error).context(format!("model '{}'", self.id)))
            }
            PoolError::Lost => Error::internal(anyhow::anyhow!("model '{}' lost its inference thread", self.id)),
        };
        ExecuteError::Other(other)
    }

    fn internal(&self, error: anyhow::Error) -> InferError {
        InferError::Other(Error::internal(error.context(format!("model '{}'", self.id))))
    }
}

enum ExecuteError {
    Rejected,
    Other(Error),
}
