//! One model version, ready to run: from an [`Input`] to a [`Prediction`].
//!
//! [`Model::check`] makes tensors of an input, [`Model::infer`] gathers items into as few runs as the model allows,
//! waits for a free session, and makes predictions of the outputs.

mod admission;
mod batch;
mod callers;
mod classes;
mod clock;
mod failure;
mod features;
mod inline;
mod intake;
pub mod library;
mod no_rows;
mod operators;
mod pool;
mod postprocess;
mod queue;
mod runner;
pub mod session;
mod sessions;
mod strategy;
mod stub;
mod text;
mod together;
mod told;
pub mod warmup;
pub mod weights;
pub mod words;

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};

use self::{
    batch::Lot,
    clock::Running,
    inline::Inline,
    pool::{Pool, PoolError},
    together::Outputs,
    told::{AnswerForm, Told},
};
pub use batch::{Padding, Sharing};
pub use failure::InferError;
pub use intake::Intake;
pub use postprocess::Postprocess;
pub use queue::Limits;
pub use runner::{Runner, Tries};
pub use strategy::{Choice, Tried};
pub use stub::Stub;
pub use text::{TextEncoder, TextFiles};
pub use told::Tell;

use crate::{
    error::{Error, Violation},
    model::{
        Input, ModelId, Prediction, Value,
        conform::{Item, NamedTensor},
    },
    telemetry::{
        labels::{Release, Stage},
        metrics::ModelMetrics,
        record::Record,
    },
};

/// What computes the outputs.
#[derive(Debug)]
pub enum Backend {
    /// ONNX Runtime.
    Runner(Runner),
    /// Answers from the input's hash.
    Stub(Stub),
    /// Another process. Here, inputs are checked only.
    Elsewhere {
        /// How long a run that is not full waits there.
        max_queue_delay: Duration,
    },
}

/// One model version, ready to run.
#[derive(Debug)]
pub struct Model {
    id: ModelId,
    intake: Intake,
    /// What makes tokens of texts, where the graph takes tokens.
    encoder: Option<TextEncoder>,
    sharing: Sharing,
    backend: Backend,
    postprocess: Postprocess,
    /// What names the entries of each output, as a first run showed.
    keys: Vec<Option<Arc<[String]>>>,
    metrics: OnceLock<ModelMetrics>,
}

impl Model {
    /// Puts the parts of a model together.
    pub fn new(
        id: ModelId,
        (intake, encoder): (Intake, Option<TextEncoder>),
        sharing: Sharing,
        backend: Backend,
        postprocess: Postprocess,
    ) -> Self {
        Self { id, intake, encoder, sharing, backend, postprocess, keys: Vec::new(), metrics: OnceLock::new() }
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

    /// Makes items of `tensors`, each with its whole shape: usually one.
    ///
    /// # Errors
    /// All violations of what the model declares.
    pub fn check_tensors(&self, tensors: Vec<NamedTensor>) -> Result<Vec<Item>, Vec<Violation>> {
        self.intake.check_tensors(tensors)
    }

    /// Whether `item` is one that could have been made of a caller's input.
    pub fn admits(&self, item: &Item) -> bool {
        self.intake.admits(item)
    }

    /// How many items become of `tensors`.
    pub fn items_in(&self, tensors: &[NamedTensor]) -> usize {
        self.intake.items_in(tensors)
    }

    /// Sets the longest text, in characters.
    pub const fn limit_texts(&mut self, max_chars: usize) {
        self.intake.limit_texts(max_chars);
    }

    /// What makes tokens of texts, where the graph takes tokens.
    pub const fn encoder(&self) -> Option<&TextEncoder> {
        self.encoder.as_ref()
    }

    /// The tokens of all `texts`, special ones included; none where the graph takes texts.
    ///
    /// # Errors
    /// `invalid_input` for a text without any; `internal`.
    pub async fn tokens_in(&self, texts: Vec<String>) -> Result<usize, Error> {
        match &self.encoder {
            Some(encoder) => encoder.tokens_in(texts).await,
            None => Ok(0),
        }
    }

    /// How long a run that is not full waits for more rows while another one goes on.
    pub const fn max_queue_delay(&self) -> Duration {
        match &self.backend {
            Backend::Runner(runner) => runner.max_delay(),
            Backend::Stub(_) => Duration::ZERO,
            Backend::Elsewhere { max_queue_delay } => *max_queue_delay,
        }
    }

    /// Measures all runs from here on.
    pub fn measure(&self, metrics: ModelMetrics) {
        if let Backend::Runner(runner) = &self.backend {
            runner.pool.measure(metrics.clone());
        }
        let _ = self.metrics.set(metrics);
    }

    /// Tells one prediction, or the reason for none, per item, by its position and as soon as it is known. Nothing is run
    /// after `deadline`, and nothing at all when there is no place for all of it. A bad item costs its neighbours nothing.
    /// Dropping the future ends what it asked for.
    pub async fn infer(&self, items: Vec<Item>, deadline: Instant, record: &Record, tell: Tell<'_>) {
        let Some(encoder) = &self.encoder else { return self.infer_tensors(items, deadline, record, tell).await };
        let (positions, items) = encode(encoder, items, record, tell).await;
        let tell = |index: usize, result| {
            if let Some(position) = positions.get(index) {
                tell(*position, result);
            }
        };
        self.infer_tensors(items, deadline, record, &tell).await;
    }

    async fn infer_tensors(&self, items: Vec<Item>, deadline: Instant, record: &Record, tell: Tell<'_>) {
        let batched = self.intake.has_batch_dimension();
        // The answer to a text has no batch dimension, however the graph is declared.
        let form = |item: &Item| match item.raw {
            true => AnswerForm::Raw,
            false if (batched || item.length.is_some()) && !item.whole => AnswerForm::OneRow,
            false => AnswerForm::Rows,
        };
        let told = Told { model: self, forms: items.iter().map(form).collect(), tell };
        if Instant::now() >= deadline {
            return told.all(&Error::DeadlineExceeded);
        }
        match &self.backend {
            Backend::Stub(stub) => self.imitate(stub, items, record, &told),
            Backend::Elsewhere { .. } => {
                told.all(&Error::internal(anyhow::anyhow!("model '{}' is not run in this process", self.id)));
            }
            Backend::Runner(runner) => {
                let mut lots = self.sharing.plan(items);
                // Where rows depend on each other, the graph gives something for none too.
                if self.sharing.max_batch_size.is_some() && lots.iter().any(|(_, lot)| lot.load.rows == 0) {
                    lots = self.answer_no_rows(lots, &told);
                }
                if let Some(inline) = runner.inline(&lots) {
                    lots = self.run_inline(inline, lots, record, &told);
                }
                if !lots.is_empty() {
                    self.run_in_pool(&runner.pool, lots, deadline, record, &told).await;
                }
            }
        }
    }

    fn imitate(&self, stub: &Stub, items: Vec<Item>, record: &Record, told: &Told<'_>) {
        for (position, item) in items.into_iter().enumerate() {
            let started = Instant::now();
            let outputs = stub.run(&item.tensors);
            let time = started.elapsed();
            if let Some(metrics) = self.metrics.get() {
                metrics.waited(Duration::ZERO);
                metrics.released(Release::Idle, Duration::ZERO);
                metrics.ran(time, item.rows);
                features::count(metrics, &item.tensors, item.rows);
            }
            ran_at_once(record, started, time, told.outputs(&[position], vec![Ok(outputs)]));
        }
    }

    /// Gives back what found no free session.
    fn run_inline(
        &self,
        inline: &Inline,
        lots: Vec<(Vec<usize>, Lot)>,
        record: &Record,
        told: &Told<'_>,
    ) -> Vec<(Vec<usize>, Lot)> {
        let mut lots = lots.into_iter();
        while let Some((positions, lot)) = lots.next() {
            let started = Instant::now();
            let Some((outputs, spent)) = inline.run(&lot, self.metrics.get()) else {
                return std::iter::once((positions, lot)).chain(lots).collect();
            };
            ran_at_once(record, started, spent, told.outputs(&positions, outputs));
        }
        Vec::new()
    }

    async fn run_in_pool(
        &self,
        pool: &Pool,
        lots: Vec<(Vec<usize>, Lot)>,
        deadline: Instant,
        record: &Record,
        told: &Told<'_>,
    ) {
        let mut running = Running::new(record);
        let admitted = match self.admit(pool, lots.len(), deadline, &running.clock) {
            Ok(admitted) => admitted,
            Err(refused) => return lots.iter().for_each(|(positions, _)| told.refused(positions, &refused)),
        };
        let admitted = &admitted;
        let run = |(positions, lot)| async move { (positions, pool.run(admitted, lot).await) };
        // All of them stand in the line: what it knows of, it can put together.
        let at_once = lots.len();
        let mut done = pin!(stream::iter(lots).map(run).buffer_unordered(at_once));
        while let Some((positions, outputs)) = done.next().await {
            match outputs {
                Ok(outputs) => running.postprocessed(told.outputs(&positions, outputs)),
                Err(PoolError::Expired) => told.refused(&positions, &Error::DeadlineExceeded),
                Err(PoolError::Overdue { retry_after }) => told.refused(&positions, &self.overloaded(retry_after)),
                Err(PoolError::Lost) => {
                    let lost = anyhow::anyhow!("model '{}' lost its inference thread", self.id);
                    told.refused(&positions, &Error::internal(lost));
                }
            }
        }
    }

    fn prediction(&self, outputs: Outputs, form: AnswerForm) -> Result<Prediction, InferError> {
        let values: Vec<Value> = outputs.map_err(|error| self.explain(error))?;
        let prediction = match form {
            AnswerForm::Raw => self.postprocess.tensors(values, self.intake.signature()),
            form => self.postprocess.prediction(values, form == AnswerForm::OneRow),
        };
        let prediction = prediction.map_err(|error| self.explain_unread(error))?;
        if let Some(metrics) = self.metrics.get() {
            classes::count(metrics, &prediction);
        }
        Ok(prediction)
    }
}

/// A run that waited for nothing.
fn ran_at_once(record: &Record, started: Instant, ran: Duration, postprocess: Duration) {
    record.add_since(Stage::Queue, started, Duration::ZERO);
    record.add_since(Stage::Inference, started, ran);
    record.add_since(Stage::Postprocess, started + ran, postprocess);
}

/// Makes tokens of the items that are texts, and tells of those that have none. The others keep their positions.
async fn encode(encoder: &TextEncoder, items: Vec<Item>, record: &Record, tell: Tell<'_>) -> (Vec<usize>, Vec<Item>) {
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
