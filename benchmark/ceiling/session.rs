//! Sessions as somebody would set them up who has no other wish than speed: the server's settings of threads and memory,
//! one session per core, only the output that is wanted.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
};

use anyhow::Context;
use ort::{
    environment::Environment,
    logging::LogLevel,
    session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue, SessionOutputs},
};

/// Loads ONNX Runtime, once per process.
pub(crate) fn load_library(path: &Path) -> anyhow::Result<Environment> {
    let builder = ort::init_from(path).with_context(|| format!("cannot load {}", path.display()))?;
    Ok(builder.with_name("ceiling").with_telemetry(false).build()?)
}

/// A graph that gives one of its outputs.
pub(crate) struct Graph {
    session: Session,
    options: RunOptions<HasSelectedOutputs>,
}

impl Graph {
    /// Loads the graph at `path` with one thread per run; `output` is the one to compute, the first where it is absent.
    pub(crate) fn open(library: &Environment, path: &Path, output: Option<&str>) -> anyhow::Result<Self> {
        let session = session(library, path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        let first = session.outputs().first().context("the graph has no outputs")?.name();
        let selector = OutputSelector::no_default().with(output.unwrap_or(first));
        let mut options = RunOptions::new()?.with_outputs(selector);
        options.set_log_level(LogLevel::Fatal)?;
        Ok(Self { session, options })
    }

    /// Runs it on `inputs`, which are in the order of the graph's.
    pub(crate) fn run<const N: usize>(
        &mut self,
        inputs: [SessionInputValue<'_>; N],
    ) -> ort::Result<SessionOutputs<'_>> {
        self.session.run_with_options(inputs, &self.options)
    }

    /// The names of the graph's inputs.
    pub(crate) fn inputs(&self) -> Vec<String> {
        self.session.inputs().iter().map(|input| input.name().to_owned()).collect()
    }
}

fn session(library: &Environment, path: &Path) -> ort::Result<Session> {
    Session::builder(library)?
        .with_intra_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(false)?
        .with_log_level(LogLevel::Error)?
        .commit_from_file(path)
}

/// As many sessions as there are threads that use them, so that one of them is always free.
pub(crate) struct Graphs(Vec<Mutex<Graph>>);

impl Graphs {
    pub(crate) fn open(library: &Environment, path: &Path, output: &str, count: usize) -> anyhow::Result<Self> {
        let open = |_| Ok(Mutex::new(Graph::open(library, path, Some(output))?));
        (0..count).map(open).collect::<anyhow::Result<_>>().map(Self)
    }

    /// A session that nobody uses now.
    pub(crate) fn free(&self) -> MutexGuard<'_, Graph> {
        loop {
            for graph in &self.0 {
                match graph.try_lock() {
                    Ok(graph) => return graph,
                    Err(TryLockError::Poisoned(graph)) => return PoisonError::into_inner(graph),
                    Err(TryLockError::WouldBlock) => {}
                }
            }
            std::hint::spin_loop();
        }
    }
}
