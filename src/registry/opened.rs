//! Opens a version's sessions, and finds out by first runs what can be known before there is a request.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::{
    engine::{
        Backend, Choice, Limits, Postprocess, Runner, Sharing, Stub, Tried, Tries,
        session::{Cancel, Library, Options, Session, SharedWeights},
        warmup, weights,
    },
    model::{Manifest, ModelId, Signature, Strategy, Tensor, Value},
    telemetry::millis,
};

/// More sessions than this help a small model little, and cost memory each. A manifest can ask for more.
const MOST_INSTANCES: usize = 8;

/// For all tries of one version. A model that is slower than this is served without having been warmed up.
const WARMUP_LIMIT: Duration = Duration::from_secs(10);

/// A version whose sessions are open.
pub(super) struct Opened {
    pub engine: Engine,
    pub signature: Arc<Signature>,
    /// Whether an item leaves out the first dimension of the declared shapes.
    pub batch_dimension: bool,
    pub max_batch_size: Option<usize>,
    pub batching_reason: &'static str,
    pub instances: usize,
    pub intra_threads: usize,
    /// A length of dynamic dimensions that the graph took; `None` when it took no made-up input.
    pub example_length: Option<usize>,
    /// What it gave for that.
    pub first_outputs: Vec<Value>,
    /// Inputs with dimensions of 0 that it took.
    pub without_elements: Vec<Vec<Tensor>>,
}

/// What will compute the outputs.
pub(super) enum Engine {
    Graph { path: PathBuf, sessions: Vec<Session>, tried: Tried, batched: bool },
    Stub(Stub),
}

impl Engine {
    /// Decides how runs get a thread, and starts those that are needed.
    ///
    /// # Errors
    /// When the manifest wants what the graph does not allow, or the system gives no thread.
    pub(super) fn start(
        self,
        id: &ModelId,
        manifest: &Manifest,
        sharing: &Sharing,
        limits: Limits,
    ) -> anyhow::Result<(Backend, Choice)> {
        let (path, sessions, tried, same_rows) = match self {
            Self::Graph { path, sessions, tried, batched } => (path, sessions, tried, batched),
            Self::Stub(stub) => {
                let reason = "a stub runs no graph".to_owned();
                return Ok((Backend::Stub(stub), Choice { strategy: Strategy::Inline, reason }));
            }
        };
        let (wanted, max_queue_delay) = (manifest.execution.strategy, manifest.batching.max_queue_delay);
        let tries = Tries { graph: &path, wanted, tried, same_rows, max_queue_delay };
        let runner = Runner::start(id.name.as_str(), sessions, sharing, limits, &tries)?;
        let choice = runner.choice().clone();
        let (model, strategy) = (id.to_string(), choice.strategy.as_str());
        tracing::info!(model, strategy, reason = choice.reason, "execution strategy chosen");
        Ok((Backend::Runner(runner), choice))
    }
}

/// Opens a graph with one session for each of `threads`, unless its manifest says otherwise.
///
/// # Errors
/// Why it cannot be served, without paths of the machine.
pub(super) fn graph(library: &Library, threads: usize, manifest: &Manifest, path: PathBuf) -> anyhow::Result<Opened> {
    let instances = manifest.execution.instances.unwrap_or_else(|| threads.min(MOST_INSTANCES));
    let intra_threads = manifest.execution.intra_threads.unwrap_or(1);
    let options = Options { intra_threads, outputs: Postprocess::wanted_outputs(manifest) };
    check_file(&path)?;
    let weights = if instances > 1 { weights::read(&path)? } else { Vec::new() };
    let weights = SharedWeights::new(library, weights)?;
    let open = |_| Session::open(library, &path, &options, &weights);
    let mut sessions = (0..instances).map(open).collect::<anyhow::Result<Vec<_>>>()?;
    let signature = Arc::clone(sessions.first().context("a model needs a session")?.signature());

    let started = Instant::now();
    let ((max_batch_size, batching_reason), warm, tried, without_elements) = warmup::within(WARMUP_LIMIT, |cancel| {
        let batching = batching(manifest, &mut sessions[0], cancel)?;
        let warm: Vec<_> = sessions.iter_mut().map(|session| warmup::run_once(session, cancel)).collect();
        let first = warm.iter().flatten().next();
        let tried = first.map(|warm| warmup::measure(&mut sessions[0], cancel, warm)).unwrap_or_default();
        let without_elements = warmup::without_elements(&mut sessions[0], cancel, &path);
        anyhow::Ok((batching, warm, tried, without_elements))
    })??;
    let all_warm = warm.iter().all(Option::is_some);
    let warmup_ms = millis(started.elapsed());
    tracing::debug!(warm = all_warm, warmup_ms, max_batch_size, batching_reason, "sessions are open");
    let first_run = warm.into_iter().next().flatten();
    // How an input is written must not depend on what the tries showed.
    let batch_dimension = max_batch_size.is_some() || signature.has_batch_dimension();
    Ok(Opened {
        engine: Engine::Graph { path, sessions, tried, batched: batch_dimension },
        signature,
        batch_dimension,
        max_batch_size,
        batching_reason,
        instances,
        intra_threads,
        example_length: first_run.as_ref().map(|run| run.length),
        first_outputs: first_run.map(|run| run.outputs).unwrap_or_default(),
        without_elements,
    })
}

/// What stands for a graph where there is none.
///
/// # Errors
/// When the manifest declares no batch.
pub(super) fn stub(manifest: &Manifest) -> anyhow::Result<Opened> {
    let signature = Stub::signature(manifest);
    anyhow::ensure!(signature.could_batch(), "a stub's inputs and outputs start with a dynamic dimension, -1");
    Ok(Opened {
        engine: Engine::Stub(Stub::new(manifest.task, &signature)),
        signature: Arc::new(signature),
        batch_dimension: true,
        max_batch_size: Some(manifest.batching.max_batch_size.unwrap_or(warmup::DEFAULT_BATCH_SIZE)),
        batching_reason: "declared",
        instances: 1,
        intra_threads: 1,
        example_length: Some(1),
        first_outputs: Vec::new(),
        without_elements: Vec::new(),
    })
}

/// Says what is wrong with a graph's file before anything opens it: opening a pipe would wait for ever.
fn check_file(graph: &Path) -> anyhow::Result<()> {
    let name = graph.file_name().unwrap_or_default().to_string_lossy();
    let metadata = graph.metadata().with_context(|| format!("'{name}' cannot be read"))?;
    anyhow::ensure!(!metadata.is_dir(), "'{name}' is a directory");
    anyhow::ensure!(metadata.is_file(), "'{name}' is not a file");
    anyhow::ensure!(metadata.len() > 0, "'{name}' is empty");
    anyhow::ensure!(metadata.len() <= weights::MAX_GRAPH, "'{name}' is larger than 2 GiB, which no graph can be");
    Ok(())
}

/// What the manifest says; without a word from it, what a try shows.
fn batching(
    manifest: &Manifest,
    session: &mut Session,
    cancel: &Cancel,
) -> anyhow::Result<(Option<usize>, &'static str)> {
    Ok(match manifest.batching.max_batch_size {
        Some(1) => (None, "declared: off"),
        Some(size) => {
            let possible = session.signature().could_batch();
            anyhow::ensure!(
                possible,
                "batching.max_batch_size is {size}, but not every input and output starts with a dynamic dimension"
            );
            (Some(size), "declared")
        }
        None => {
            let (independent, reason) = warmup::rows_are_independent(session, cancel);
            (independent.then_some(warmup::DEFAULT_BATCH_SIZE), reason)
        }
    })
}
