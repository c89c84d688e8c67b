//! What is told of a model.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    model::{Dim, TensorSpec},
    registry::{Loaded, ModelEntry},
    telemetry::millis,
};

/// The models that the caller may use.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ModelList {
    pub models: Vec<ModelSummary>,
}

/// One model, in short.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ModelSummary {
    pub name: String,
    /// Whether it answers who names no model.
    pub default: bool,
    /// The state of the default version.
    #[schema(value_type = State)]
    pub state: &'static str,
    #[schema(value_type = Option<Task>)]
    pub task: Option<crate::model::Task>,
    pub description: Option<String>,
    /// The version that answers who names none.
    pub default_version: Option<String>,
    pub versions: Vec<VersionSummary>,
}

/// One version, in short.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct VersionSummary {
    pub version: String,
    #[schema(value_type = State)]
    pub state: &'static str,
}

/// How far a version is. `not_built`: its graph is not there yet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ModelState)]
#[expect(dead_code, reason = "only described")]
enum State {
    Loading,
    Ready,
    Failed,
    NotBuilt,
}

/// What a model is for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described")]
enum Task {
    Classification,
    Regression,
    Embedding,
    Tensor,
}

/// One version of a model, with everything that is known of it once it is ready.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::api) enum ModelDescription {
    Ready(Box<ReadyModel>),
    NotReady(ModelStanding),
}

/// A version that answers.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ReadyModel {
    #[serde(flatten)]
    pub standing: ModelStanding,
    #[serde(flatten)]
    pub details: ModelDetails,
}

/// A version, and its model's others.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ModelStanding {
    #[schema(example = "toxicity")]
    pub name: String,
    /// `null` when the model has no version that could be served.
    #[schema(example = "1")]
    pub version: Option<String>,
    #[schema(value_type = State)]
    pub state: &'static str,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// The version that answers who names none.
    pub default_version: Option<String>,
    pub versions: Vec<VersionSummary>,
}

/// What is known of a version that is ready.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ModelDetails {
    description: Option<String>,
    #[schema(value_type = Task)]
    task: crate::model::Task,
    /// What computes the predictions.
    #[schema(example = "onnxruntime-cpu")]
    provider: &'static str,
    /// The classes, in the order of the probabilities.
    labels: Vec<String>,
    /// The input that receives the text, where the graph takes it itself.
    text_input: Option<String>,
    /// How text is given to the model; `null` for a model that takes none.
    text: Option<TextDetails>,
    inputs: Vec<TensorDetails>,
    outputs: Vec<TensorDetails>,
    batching: BatchingDetails,
    execution: ExecutionDetails,
    /// SHA-256 of the files that the version was loaded from.
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    digest: String,
    /// Bytes of the graph and its weights.
    size_bytes: u64,
    /// Milliseconds from opening the files to the first good answer.
    load_ms: f64,
    /// Samples with known answers that were tried when it was loaded.
    golden_samples: usize,
    /// The training's held-out figures, as its `metrics.json` holds them.
    #[schema(value_type = Option<Object>)]
    metrics: Option<Value>,
}

/// How a model is given text.
#[derive(Debug, Serialize, ToSchema)]
struct TextDetails {
    /// The graph's input for whole texts.
    input: Option<String>,
    /// The file that says how tokens are made, where the server makes them.
    tokenizer: Option<String>,
    /// Longer texts are cut to so many tokens.
    max_tokens: Option<usize>,
}

/// One input or output of the graph.
#[derive(Debug, Serialize, ToSchema)]
struct TensorDetails {
    name: String,
    /// In the words of the Open Inference Protocol: `FP32`, `INT64`, `BYTES`, …
    #[schema(example = "FP32")]
    datatype: &'static str,
    /// The graph's, batch dimension included; -1 is dynamic.
    shape: Vec<i64>,
}

/// How requests are gathered into one run.
#[derive(Debug, Serialize, ToSchema)]
struct BatchingDetails {
    /// Whether the first dimension counts independent rows.
    batch_dimension: bool,
    /// Most rows of one run.
    max_batch_size: usize,
    /// How long the first request waits for others, in milliseconds.
    max_queue_delay_ms: f64,
    /// The most a run's sequences may be lengthened for each other, as a factor.
    max_padding: Option<f64>,
    /// Why it is so.
    reason: Cow<'static, str>,
}

/// Where and how the graph runs.
#[derive(Debug, Serialize, ToSchema)]
struct ExecutionDetails {
    #[schema(example = "inline")]
    strategy: &'static str,
    /// Why it was chosen.
    reason: String,
    /// Sessions of the graph, which share their weights.
    instances: usize,
    /// Threads inside one run.
    intra_threads: usize,
}

impl ModelDetails {
    pub(super) fn of(loaded: &Loaded) -> Self {
        let manifest = &loaded.manifest;
        Self {
            description: manifest.description.clone(),
            task: manifest.task,
            provider: manifest.provider.as_str(),
            labels: manifest.labels.to_vec(),
            text_input: manifest.text.as_ref().and_then(|text| text.input.clone()),
            text: manifest.text.as_ref().map(|text| TextDetails {
                input: text.input.clone(),
                tokenizer: text.tokenizer.clone(),
                max_tokens: loaded.max_tokens,
            }),
            inputs: loaded.signature.inputs.iter().map(TensorDetails::of).collect(),
            outputs: loaded.signature.outputs.iter().map(TensorDetails::of).collect(),
            batching: BatchingDetails {
                batch_dimension: loaded.batch_dimension,
                max_batch_size: loaded.max_batch_size.unwrap_or(1),
                max_queue_delay_ms: millis(loaded.model.max_queue_delay()),
                max_padding: loaded.max_padding,
                reason: loaded.batching_reason.clone(),
            },
            execution: ExecutionDetails {
                strategy: loaded.choice.strategy.as_str(),
                reason: loaded.choice.reason.clone(),
                instances: loaded.instances,
                intra_threads: loaded.intra_threads,
            },
            digest: format!("sha256:{}", loaded.digest),
            size_bytes: loaded.size,
            load_ms: millis(loaded.load_time),
            golden_samples: loaded.golden_samples,
            metrics: loaded.quality.clone(),
        }
    }
}

impl TensorDetails {
    fn of(spec: &TensorSpec) -> Self {
        let shape = spec.shape.iter().map(Dim::as_i64).collect();
        Self { name: spec.name.to_string(), datatype: spec.datatype.as_str(), shape }
    }
}

impl VersionSummary {
    /// Of every version of a model, the lowest first.
    pub(super) fn all(entry: &ModelEntry) -> Vec<Self> {
        let versions = entry.versions.iter();
        versions.map(|(version, state)| Self { version: version.to_string(), state: state.as_str() }).collect()
    }
}
