//! `model.toml`: what the graph cannot say about a model. Every part of it is optional.

mod input;
mod output;
mod text;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    input::{InputRules, Missing},
    output::{Activation, Output, Pooling},
    text::{MOST_TOKENS, Text, TokenInputs},
};
use super::{datatype::Datatype, signature::Dim, signature::TensorSpec};

/// A model's manifest, as it stands in its folder.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// Must equal the folder's name when given.
    pub name: Option<String>,
    /// One sentence for people.
    pub description: Option<String>,
    /// What the outputs mean.
    pub task: Task,
    /// What computes the predictions.
    pub provider: Provider,
    /// Names of the classes, in the order of the probabilities.
    pub labels: Vec<String>,
    /// What may stand in its inputs.
    pub input: InputRules,
    /// Set when the model takes text.
    pub text: Option<Text>,
    /// Which output is read, and how.
    pub output: Output,
    /// How many items share one run.
    pub batching: Batching,
    /// Whether answers are kept.
    pub cache: CacheSwitch,
    /// Which versions are served.
    pub versions: Versions,
    /// How the model is run.
    pub execution: Execution,
    /// Where its files come from.
    pub source: Origin,
    /// Declared inputs; for providers without a graph only.
    pub inputs: Vec<DeclaredTensor>,
    /// Declared outputs; for providers without a graph only.
    pub outputs: Vec<DeclaredTensor>,
}

/// What the outputs of a model mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Probabilities of labels.
    Classification,
    /// Numbers.
    Regression,
    /// A vector per item.
    Embedding,
    /// Whatever the graph gives.
    #[default]
    Tensor,
}

/// What computes the predictions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// ONNX Runtime on the CPU.
    #[default]
    Onnxruntime,
    /// Deterministic answers from the input's hash, for people who build clients.
    Stub,
}

impl Provider {
    /// The name in answers and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Onnxruntime => "onnxruntime-cpu",
            Self::Stub => "stub",
        }
    }
}

/// `[batching]`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Batching {
    /// Rows in one run. 1 switches batching off; absent, the server tries at load whether rows are independent.
    pub max_batch_size: Option<usize>,
    /// How long a run that is not full waits for more rows while another one of this model goes on; when none does, it
    /// never waits. As long as a row alone takes when absent, and at most 2 ms.
    #[serde(with = "humantime_serde")]
    pub max_queue_delay: Option<Duration>,
    /// How much of a run may be what makes texts of different length equally long, from 0 (only texts of equal length
    /// share a run) to 1; 0.1 when absent.
    pub max_padding: Option<f64>,
}

/// How a model's runs get a thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// What the first runs suggest.
    #[default]
    Auto,
    /// On the thread that holds the request: for runs of some tens of microseconds.
    Inline,
    /// On inference threads, each with a session of its own.
    Pool,
    /// Like `pool`; and requests that wait at the same time share a run.
    Batched,
}

impl Strategy {
    /// The name in answers and log lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Inline => "inline",
            Self::Pool => "pool",
            Self::Batched => "batched",
        }
    }
}

/// `[cache]`
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheSwitch {
    /// Off for a model that may answer the same input differently: every item is computed, also an equal one of a batch.
    pub enabled: bool,
}

impl Default for CacheSwitch {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// `[versions]`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Versions {
    /// The versions to serve; all that are there when empty.
    pub serve: Vec<String>,
    /// Answers requests that name no version; the highest number when absent.
    pub default: Option<String>,
}

/// `[execution]`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Execution {
    /// How runs get a thread.
    pub strategy: Strategy,
    /// Sessions of this model that can run at the same time; one per inference thread when absent.
    pub instances: Option<usize>,
    /// Threads inside one session; 1 when absent.
    pub intra_threads: Option<usize>,
}

/// `[source]`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Origin {
    /// The command that makes the graphs, for models whose graphs are not kept beside their manifest. Until it has run, the
    /// model is listed as not built.
    pub build: Option<String>,
}

/// An input or output that a manifest declares.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredTensor {
    /// Its name.
    pub name: String,
    /// Its datatype.
    pub datatype: Datatype,
    /// Its dimensions; -1 for a dynamic one.
    pub shape: Vec<i64>,
}

impl From<&DeclaredTensor> for TensorSpec {
    fn from(declared: &DeclaredTensor) -> Self {
        let dim = |size: &i64| usize::try_from(*size).map_or(Dim::Dynamic(None), Dim::Fixed);
        Self {
            name: declared.name.as_str().into(),
            datatype: declared.datatype,
            shape: declared.shape.iter().map(dim).collect(),
        }
    }
}

/// Whoever waits for companions has to be answered, too.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

impl Manifest {
    /// Reads a manifest and checks what can be checked without the graph.
    ///
    /// # Errors
    /// In words for the person who wrote the file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
            format!("line {}: {}", line.unwrap_or(1), error.message())
        })?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let classifies = self.task == Task::Classification;
        if !classifies && (!self.labels.is_empty() || self.output.activation != Activation::None) {
            return Err("'labels' and 'output.activation' belong to task \"classification\"".to_owned());
        }
        self.output.check(self.task)?;
        self.text.as_ref().map_or(Ok(()), Text::check)?;
        let mut labels: Vec<_> = self.labels.iter().collect();
        labels.sort_unstable();
        labels.dedup();
        if labels.len() != self.labels.len() {
            return Err("'labels' names one label twice".to_owned());
        }
        let positive = [
            ("batching.max_batch_size", self.batching.max_batch_size),
            ("execution.instances", self.execution.instances),
            ("execution.intra_threads", self.execution.intra_threads),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| matches!(value, Some(0) | Some(65_536..))) {
            return Err(format!("'{key}' must be from 1 to 65535"));
        }
        if self.batching.max_queue_delay.is_some_and(|delay| delay > LONGEST_DELAY) {
            return Err(format!("'batching.max_queue_delay' must be at most {LONGEST_DELAY:?}"));
        }
        if self.batching.max_padding.is_some_and(|most| !(0.0..=1.0).contains(&most)) {
            return Err("'batching.max_padding' must be from 0 to 1".to_owned());
        }
        match self.provider {
            Provider::Onnxruntime if !self.inputs.is_empty() || !self.outputs.is_empty() => {
                Err("'inputs' and 'outputs' are read from the graph; declare them for provider \"stub\" only"
                    .to_owned())
            }
            Provider::Stub if self.inputs.is_empty() || self.outputs.is_empty() => {
                Err("provider \"stub\" has no graph: declare '[[inputs]]' and '[[outputs]]'".to_owned())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_manifest_serves_tensors_from_the_graph() {
        let manifest = Manifest::parse("").unwrap();
        assert_eq!((manifest.task, manifest.provider), (Task::Tensor, Provider::Onnxruntime));
    }

    #[test]
    fn mistakes_are_explained() {
        let cases = [
            ("colour = 1", "unknown field `colour`"),
            ("task = \"guess\"", "unknown variant"),
            ("labels = [\"a\"]", "task \"classification\""),
            ("task = \"classification\"\nlabels = [\"a\", \"a\"]", "twice"),
            ("[batching]\nmax_batch_size = 0", "batching.max_batch_size"),
            ("[batching]\nmax_queue_delay = \"2s\"", "max_queue_delay"),
            ("[batching]\nmax_padding = 1.5", "max_padding"),
            ("[execution]\nstrategy = \"fast\"", "unknown variant"),
            ("provider = \"stub\"", "[[inputs]]"),
            ("[input]\nmissing = \"zero\"", "unknown variant"),
            ("[text]", "'input' or 'tokenizer'"),
            ("text = { input = \"x\", tokenizer = \"tokenizer.json\" }", "exclude"),
            ("text = { input = \"x\", max_tokens = 9 }", "'text.tokenizer'"),
            ("text = { tokenizer = \"tokenizer.json\", max_tokens = 0 }", "text.max_tokens"),
            ("text.tokenizer = \"../tokenizer.json\"", "without folders"),
            ("output.pooling = \"mean\"", "task \"embedding\""),
            ("output.normalize = true", "task \"embedding\""),
            ("task = \"classification\"\noutput.threshold = 0.5", "\"sigmoid\""),
            ("task = \"classification\"\noutput = { activation = \"sigmoid\", threshold = 2 }", "from 0 to 1"),
            ("[[inputs]]\nname = \"x\"\ndatatype = \"FP32\"\nshape = [-1]", "read from the graph"),
        ];
        for (text, expected) in cases {
            let error = Manifest::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
