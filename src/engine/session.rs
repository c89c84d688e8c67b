//! The boundary to ONNX Runtime: the only place that names `ort`.

mod specs;
mod values;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use anyhow::Context;
use ort::{
    LoadDynamicError,
    environment::Environment,
    logging::LogLevel,
    session::{
        HasSelectedOutputs, OutputSelector, RunOptions, Session as OrtSession, SessionInputValue, SessionOutputs,
        builder::{PrepackedWeights, SessionBuilder},
    },
    value::DynValue,
};

use self::{
    specs::{input_spec, output_spec},
    values::{feed, own, read},
};
use super::{
    weights::Weight,
    words::{RunError, explain, load_error, version_of, without_values},
};
use crate::model::{Datatype, Signature, Tensor, Value};

/// The oldest library that is accepted, as its minor version.
pub const OLDEST_MINOR: u32 = ort::MINOR_VERSION;

/// The loaded library. There can be only one in a process, which is ONNX Runtime's rule; hence the only static here.
static LIBRARY: OnceLock<Library> = OnceLock::new();

/// ONNX Runtime's shared library, loaded and started.
#[derive(Debug)]
pub struct Library {
    environment: Environment,
    path: PathBuf,
    version: String,
}

impl Library {
    /// Loads the library at `path`, or a bare file name by the system's loader path. A second call returns the first
    /// library, whatever its path.
    ///
    /// # Errors
    /// When it cannot be loaded, is older than 1.24, or does not start. A damaged library can also crash or hang the
    /// process: see `engine/library.rs`.
    pub fn load(path: &Path) -> anyhow::Result<&'static Self> {
        if let Some(library) = LIBRARY.get() {
            return Ok(library);
        }
        let builder = ort::init_from(path).map_err(|error| match error {
            // The loader's own words, which name a missing dependency, are the source of this one.
            LoadDynamicError::Dlopen { error, .. } => anyhow::Error::new(error),
            other => other.into(),
        })?;
        let environment = match builder.with_name("glassbox").with_telemetry(false).build() {
            Ok(environment) => environment,
            // Another thread was faster, and started the library between the look above and here.
            Err(error) => return LIBRARY.get().with_context(|| format!("cannot start ONNX Runtime: {error}")),
        };
        environment.set_log_level(LogLevel::Warning);
        let version = version_of(path, ort::info());
        Ok(LIBRARY.get_or_init(|| Self { environment, path: path.to_owned(), version }))
    }

    /// Its version, `1.31.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// How a model's sessions are set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads inside one run.
    pub intra_threads: usize,
    /// The outputs to compute, in the order wanted; all when empty.
    pub outputs: Vec<String>,
}

/// Weights that all sessions of one model share, as the graph has them and in the layout that its kernels want.
pub struct SharedWeights {
    initializers: Vec<(String, Arc<DynValue>)>,
    prepacked: PrepackedWeights,
}

impl SharedWeights {
    /// Takes over `weights`; none at all is right for a single session, which holds its own anyway.
    ///
    /// # Errors
    /// When ONNX Runtime takes no tensor of such a shape.
    pub fn new(_library: &Library, weights: Vec<Weight>) -> anyhow::Result<Self> {
        let initializers = weights.into_iter().map(|Weight { name, tensor }| Ok((name, Arc::new(own(tensor)?))));
        Ok(Self { initializers: initializers.collect::<ort::Result<_>>()?, prepacked: PrepackedWeights::new() })
    }
}

/// Ends a run from another thread: a graph can loop for ever, and who asked for it may have left.
pub struct Cancel(RunOptions);

impl Cancel {
    /// For one run that begins later, or for several.
    ///
    /// # Errors
    /// When ONNX Runtime has no memory for it.
    pub fn new() -> Result<Self, RunError> {
        run_options().map(Self).map_err(failed)
    }

    /// Ends the run at its next node; runs that begin later end at once.
    pub fn cancel(&self) {
        let _ = self.0.terminate();
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancel")
    }
}

/// One loaded graph, run by one thread at a time.
pub struct Session {
    session: OrtSession,
    signature: Arc<Signature>,
    /// Made once, for runs that nobody ends.
    selected: RunOptions<HasSelectedOutputs>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    /// Loads the graph at `path`.
    ///
    /// # Errors
    /// In words for the person who made the model; the folder is left out.
    pub fn open(library: &Library, path: &Path, options: &Options, weights: &SharedWeights) -> anyhow::Result<Self> {
        let session = builder(library, options, weights)
            .and_then(|mut builder| builder.commit_from_file(path))
            .map_err(|error| anyhow::anyhow!(load_error(error.message(), path)))?;
        let all = Signature {
            inputs: session.inputs().iter().map(input_spec).collect::<Result<_, _>>()?,
            outputs: session.outputs().iter().map(output_spec).collect::<Result<_, _>>()?,
        };
        let signature = all.select(&options.outputs)?;
        let selector = signature.outputs.iter().fold(OutputSelector::no_default(), |all, spec| all.with(&*spec.name));
        let selected = run_options()?.with_outputs(selector);
        Ok(Self { session, signature: Arc::new(signature), selected })
    }

    /// What the graph takes, and gives of the selected outputs.
    pub fn signature(&self) -> &Arc<Signature> {
        &self.signature
    }

    /// Runs the graph until it ends or `cancel` is used. `inputs` are in the order of the signature, and so are the
    /// outputs. All of the graph's outputs are computed: the binding cannot end a run that selects some.
    ///
    /// # Errors
    /// See [`RunError`]. The messages hold no value of the input.
    pub fn run(&mut self, inputs: &[Tensor], cancel: &Cancel) -> Result<Vec<Value>, RunError> {
        let Self { session, signature, .. } = self;
        guarded(signature, inputs, |feeds| {
            let outputs = session.run_with_options(feeds, &cancel.0)?;
            Ok(read_all(signature, &outputs))
        })
    }

    /// Like [`run`](Self::run), without a way to end it: for graphs that end soon by themselves. Only what leads to the
    /// selected outputs is computed.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn run_to_the_end(&mut self, inputs: &[Tensor]) -> Result<Vec<Value>, RunError> {
        let Self { session, signature, selected } = self;
        guarded(signature, inputs, |feeds| {
            let outputs = session.run_with_options(feeds, selected)?;
            Ok(read_all(signature, &outputs))
        })
    }
}

/// A panic in the binding must cost one run, and neither the thread nor the session.
fn guarded(
    signature: &Signature,
    inputs: &[Tensor],
    run: impl FnOnce(&[SessionInputValue<'_>]) -> ort::Result<Result<Vec<Value>, RunError>>,
) -> Result<Vec<Value>, RunError> {
    let guarded = AssertUnwindSafe(|| {
        let feeds = inputs.iter().map(feed).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        run(&feeds).map_err(|error| run_error(&error, signature))?
    });
    catch_unwind(guarded).unwrap_or_else(|_| Err(RunError::Failed("the run panicked".to_owned())))
}

fn read_all(signature: &Signature, outputs: &SessionOutputs<'_>) -> Result<Vec<Value>, RunError> {
    let one = |name: &str| {
        let value = outputs.get(name).ok_or_else(|| RunError::Failed(format!("no '{name}'")))?;
        read(value).map_err(|error| RunError::Failed(format!("output '{name}': {error}")))
    };
    signature.outputs.iter().map(|spec| one(&spec.name)).collect()
}

fn run_options() -> ort::Result<RunOptions> {
    let mut options = RunOptions::new()?;
    // What goes wrong in a run is returned; logging it as well would put values of the input into the log.
    options.set_log_level(LogLevel::Fatal)?;
    Ok(options)
}

fn builder(library: &Library, options: &Options, weights: &SharedWeights) -> ort::Result<SessionBuilder> {
    let mut builder = OrtSession::builder(&library.environment)?
        .with_intra_threads(options.intra_threads)?
        // Waiting threads sleep instead of burning a core that the container may not have.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        // The plan that this keeps for every shape seen would grow without bound under dynamic shapes.
        .with_memory_pattern(false)?
        // A graph whose outputs are not shaped as it declares would be warned about at every run.
        .with_log_level(LogLevel::Error)?
        .with_prepacked_weights(&weights.prepacked)?;
    for (name, value) in &weights.initializers {
        builder = builder.with_initializer(name, Arc::clone(value))?;
    }
    Ok(builder)
}

fn failed(error: ort::Error) -> RunError {
    RunError::Failed(without_values(error.message()))
}

fn run_error(error: &ort::Error, signature: &Signature) -> RunError {
    let takes_texts = signature.inputs.iter().any(|spec| spec.datatype == Datatype::Bytes);
    explain(error.code() == ort::ErrorCode::InvalidArgument, error.message(), takes_texts)
}
