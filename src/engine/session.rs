//! The boundary to ONNX Runtime: the only file that names `ort`.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use anyhow::Context;
use ort::{
    LoadDynamicError,
    environment::Environment,
    logging::LogLevel,
    session::{
        RunOptions, Session as OrtSession, SessionInputValue,
        builder::{PrepackedWeights, SessionBuilder},
    },
    value::{
        DynMap, DynMapValueType, DynSequenceValueType, DynValue, Outlet, Tensor as OrtTensor, TensorElementType,
        TensorRef, ValueType,
    },
};

use super::{
    weights::Weight,
    words::{RunError, explain, load_error, version_of, without_values},
};
use crate::model::{Data, Datatype, Dim, Signature, Tensor, TensorSpec, Value};

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
        let mut options = RunOptions::new().map_err(failed)?;
        // What goes wrong in a run is returned; logging it as well would put values of the input into the log.
        options.set_log_level(LogLevel::Fatal).map_err(failed)?;
        Ok(Self(options))
    }

    /// Ends the run at its next node; runs that begin later end at once.
    pub fn cancel(&self) {
        let _ = self.0.terminate();
    }
}

/// One loaded graph, run by one thread at a time.
pub struct Session {
    session: OrtSession,
    signature: Arc<Signature>,
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
        Ok(Self { session, signature: Arc::new(all.select(&options.outputs)?) })
    }

    /// What the graph takes, and gives of the selected outputs.
    pub fn signature(&self) -> &Arc<Signature> {
        &self.signature
    }

    /// Runs the graph until it ends or `cancel` is used. `inputs` are in the order of the signature, and so are the
    /// outputs.
    ///
    /// # Errors
    /// See [`RunError`]. The messages hold no value of the input.
    pub fn run(&mut self, inputs: &[Tensor], cancel: &Cancel) -> Result<Vec<Value>, RunError> {
        let names = self.signature.inputs.iter().map(|spec| Cow::Borrowed(&*spec.name));
        let feeds = inputs.iter().map(feed).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let feeds: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = names.zip(feeds).collect();
        let mut outputs =
            self.session.run_with_options(feeds, &cancel.0).map_err(|error| run_error(&error, &self.signature))?;
        self.signature
            .outputs
            .iter()
            .map(|spec| {
                let value =
                    outputs.remove(&*spec.name).ok_or_else(|| RunError::Failed(format!("no '{}'", spec.name)))?;
                read(&value).map_err(|error| RunError::Failed(format!("output '{}': {error}", spec.name)))
            })
            .collect()
    }
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

fn input_spec(outlet: &Outlet) -> anyhow::Result<TensorSpec> {
    tensor_spec(outlet)
        .with_context(|| format!("input '{}' is a {}, not a tensor of a known datatype", outlet.name(), outlet.dtype()))
}

/// scikit-learn's exporter gives a classifier's probabilities as a sequence of maps: that becomes an FP32 table whose
/// last dimension has keys.
fn output_spec(outlet: &Outlet) -> anyhow::Result<TensorSpec> {
    if is_sequence_of_maps(outlet.dtype()) {
        let shape = vec![Dim::Dynamic(None), Dim::Dynamic(None)];
        return Ok(TensorSpec { name: outlet.name().into(), datatype: Datatype::Fp32, shape });
    }
    tensor_spec(outlet)
        .with_context(|| format!("output '{}' is a {}, which cannot be served", outlet.name(), outlet.dtype()))
}

fn is_sequence_of_maps(dtype: &ValueType) -> bool {
    let ValueType::Sequence(inner) = dtype else { return false };
    matches!(
        **inner,
        ValueType::Map { key: TensorElementType::Int64 | TensorElementType::String, value: TensorElementType::Float32 }
    )
}

fn tensor_spec(outlet: &Outlet) -> Option<TensorSpec> {
    let ValueType::Tensor { ty, shape, dimension_symbols } = outlet.dtype() else { return None };
    let dim = |(index, size): (usize, &i64)| match usize::try_from(*size) {
        Ok(size) => Dim::Fixed(size),
        Err(_) => {
            Dim::Dynamic(dimension_symbols.get(index).filter(|name| !name.is_empty()).map(|name| name.as_str().into()))
        }
    };
    let shape = shape.iter().enumerate().map(dim).collect();
    Some(TensorSpec { name: outlet.name().into(), datatype: datatype(*ty)?, shape })
}

const fn datatype(element: TensorElementType) -> Option<Datatype> {
    Some(match element {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::String => Datatype::Bytes,
        _ => return None,
    })
}

/// Lends a tensor's memory to ONNX Runtime; only strings are copied.
fn feed(tensor: &Tensor) -> ort::Result<SessionInputValue<'_>> {
    let shape = tensor.shape();
    macro_rules! lend {
        ($($variant:ident)*) => {
            match tensor.data() {
                $(Data::$variant(values) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),)*
                Data::Bytes(values) => OrtTensor::from_string_array((shape, values.as_slice()))?.into(),
            }
        };
    }
    Ok(lend!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp16 Bf16 Fp32 Fp64))
}

/// Gives a tensor's memory to ONNX Runtime.
fn own(tensor: Tensor) -> ort::Result<DynValue> {
    let (shape, data) = tensor.into_parts();
    macro_rules! give {
        ($($variant:ident)*) => {
            match data {
                $(Data::$variant(values) => OrtTensor::from_array((shape, values))?.into_dyn(),)*
                Data::Bytes(values) => OrtTensor::from_string_array((shape, values.as_slice()))?.into_dyn(),
            }
        };
    }
    Ok(give!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp16 Bf16 Fp32 Fp64))
}

fn read(value: &DynValue) -> anyhow::Result<Value> {
    match value.dtype() {
        ValueType::Tensor { ty, .. } => Ok(Value { tensor: read_tensor(value, *ty)?, keys: None }),
        dtype if is_sequence_of_maps(dtype) => read_maps(value),
        dtype => anyhow::bail!("a {dtype} cannot be served"),
    }
}

fn read_tensor(value: &DynValue, element: TensorElementType) -> anyhow::Result<Tensor> {
    macro_rules! copy {
        ($($element:ident $variant:ident)*) => {
            match element {
                $(TensorElementType::$element => {
                    let (shape, values) = value.try_extract_tensor()?;
                    (shape, Data::$variant(values.to_vec()))
                })*
                TensorElementType::String => {
                    let (shape, values) = value.try_extract_strings()?;
                    (shape, Data::Bytes(values))
                }
                other => anyhow::bail!("datatype {other} cannot be served"),
            }
        };
    }
    let (shape, data) = copy!(Bool Bool Uint8 Uint8 Uint16 Uint16 Uint32 Uint32 Uint64 Uint64 Int8 Int8 Int16 Int16
        Int32 Int32 Int64 Int64 Float16 Fp16 Bfloat16 Bf16 Float32 Fp32 Float64 Fp64);
    let shape = shape.iter().map(|size| usize::try_from(*size)).collect::<Result<_, _>>()?;
    Tensor::new(shape, data).context("its elements do not fill its shape")
}

/// Rows of maps become one table; every row must have the same keys.
fn read_maps(value: &DynValue) -> anyhow::Result<Value> {
    let sequence = value.view().downcast::<DynSequenceValueType>()?;
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let maps = sequence.try_extract_sequence::<DynMapValueType>()?;
    for (row, map) in maps.iter().enumerate() {
        let (row_keys, row_values) = read_map(map)?;
        anyhow::ensure!(row == 0 || row_keys == keys, "its rows have different keys");
        keys = row_keys;
        values.extend(row_values);
    }
    let tensor = Tensor::new(vec![maps.len(), keys.len()], Data::Fp32(values)).context("its rows differ in length")?;
    Ok(Value { tensor, keys: Some(keys.into()) })
}

fn read_map(map: &DynMap) -> anyhow::Result<(Vec<String>, Vec<f32>)> {
    if let ValueType::Map { key: TensorElementType::Int64, .. } = map.dtype() {
        let mut pairs = map.try_extract_key_values::<i64, f32>()?;
        pairs.sort_by_key(|(key, _)| *key);
        return Ok(pairs.into_iter().map(|(key, value)| (key.to_string(), value)).unzip());
    }
    let mut pairs = map.try_extract_key_values::<String, f32>()?;
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(pairs.into_iter().unzip())
}

fn failed(error: ort::Error) -> RunError {
    RunError::Failed(without_values(error.message()))
}

fn run_error(error: &ort::Error, signature: &Signature) -> RunError {
    let takes_texts = signature.inputs.iter().any(|spec| spec.datatype == Datatype::Bytes);
    explain(error.code() == ort::ErrorCode::InvalidArgument, error.message(), takes_texts)
}
