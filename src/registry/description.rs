//! What a server must know of a version that another process runs: enough to check inputs, to find answers in the cache,
//! and to tell about it. A worker writes it, and an API server makes a [`Loaded`] of it that runs nothing.

use std::{borrow::Cow, sync::Arc, time::Duration};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{
    Loaded,
    digest::hex,
    loader::{FirstKeys, missing},
    text,
};
use crate::{
    cache::{Fingerprint, Form},
    engine::{Backend, Choice, Intake, Model, Postprocess, Sharing},
    model::{
        Data, Manifest, ModelId, ModelName, Signature, Task, Tensor, Value, Version,
        conform::{Rules, TextIntake, ZeroSizes},
    },
    telemetry::metrics::Metrics,
};

/// Larger figures of quality are left out.
const MOST_QUALITY_BYTES: usize = 256 * 1024;

/// A version, as its worker describes it.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Description {
    model: String,
    version: String,
    manifest: Manifest,
    signature: Signature,
    answers: Signature,
    interface: Signature,
    first_keys: Option<FirstKeys>,
    /// A worker of an older release says nothing, and so nothing of size 0 is taken for it.
    #[serde(default)]
    zeros: ZeroSizes,
    digest: String,
    size: u64,
    quality: Option<Json>,
    batch_dimension: bool,
    max_batch_size: Option<usize>,
    max_padding: Option<f64>,
    max_queue_delay_us: u64,
    max_tokens: Option<usize>,
    batching_reason: String,
    instances: usize,
    intra_threads: usize,
    example_length: Option<usize>,
    golden_samples: usize,
    /// As long as it took the worker that wrote this.
    load_time_us: u64,
    /// What that worker measured, in words.
    choice: Choice,
}

/// Where a version is run, when that is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// Of its description.
    pub description: String,
    /// Of what its answers depend on: whoever answers for it must have the same.
    pub fingerprint: Arc<str>,
}

impl Loaded {
    /// What others must know of it.
    pub fn describe(&self) -> Description {
        let id = self.model.id();
        let small = |quality: &&Json| quality.to_string().len() <= MOST_QUALITY_BYTES;
        Description {
            model: id.name.to_string(),
            version: id.version.to_string(),
            manifest: self.manifest.clone(),
            signature: (*self.signature).clone(),
            answers: self.answers.clone(),
            interface: self.interface.clone(),
            first_keys: self.first_keys.clone(),
            zeros: self.zeros.clone(),
            digest: self.digest.clone(),
            size: self.size,
            quality: self.quality.as_ref().filter(small).cloned(),
            batch_dimension: self.batch_dimension,
            max_batch_size: self.max_batch_size,
            max_padding: self.max_padding,
            max_queue_delay_us: microseconds(self.model.max_queue_delay()),
            max_tokens: self.max_tokens,
            batching_reason: self.batching_reason.to_string(),
            instances: self.instances,
            intra_threads: self.intra_threads,
            example_length: self.example_length,
            golden_samples: self.golden_samples,
            load_time_us: microseconds(self.load_time),
            choice: self.choice.clone(),
        }
    }
}

impl Description {
    /// The same for all workers that serve the same: what each of them measures is not in it.
    pub fn hash(&self) -> String {
        let choice = Choice { reason: String::new(), ..self.choice.clone() };
        let common = Self { load_time_us: 0, max_queue_delay_us: 0, choice, ..self.clone() };
        let text = serde_json::to_vec(&common).unwrap_or_default();
        hex(&Sha256::digest(text))[..32].to_owned()
    }

    /// Whether it describes this version.
    pub(super) fn is_of(&self, name: &ModelName, version: &Version) -> bool {
        self.model == name.as_str() && self.version == version.as_str()
    }

    /// A version that is run elsewhere, as `elsewhere` says.
    ///
    /// # Errors
    /// When this server would make other keys or other tensors of the same inputs than the worker.
    pub(super) fn loaded(
        self,
        elsewhere: Elsewhere,
        max_text_chars: usize,
        metrics: &Metrics,
    ) -> anyhow::Result<Loaded> {
        let name = ModelName::parse(&self.model).context("its name is none")?;
        let version = Version::parse(&self.version).context("its version is none")?;
        let (id, manifest, signature) = (ModelId { name, version }, self.manifest, Arc::new(self.signature));
        let batching = (self.batch_dimension, self.max_batch_size);
        let fingerprint = Fingerprint::new(&id, &self.digest, &manifest, &signature, batching);
        let same = fingerprint.to_string() == *elsewhere.fingerprint;
        anyhow::ensure!(same, "its worker computes other keys of the same inputs: the two are of different releases");

        let text = text::kind(&manifest, &signature)?;
        let rules = Rules {
            signature: Arc::clone(&signature),
            batched: self.batch_dimension,
            several_rows: manifest.task != Task::Classification,
            text,
            max_text_chars,
            missing: missing(&manifest, &signature)?,
            zeros: Some(self.zeros.clone()),
        };
        let lowercase = manifest.text.as_ref().is_some_and(|text| text.lowercase);
        let first_run: Vec<Value> = self.first_keys.iter().flatten().filter_map(named).collect();
        let postprocess = Postprocess::new(&manifest, &signature)?;
        let labels = postprocess.labels(&first_run).to_vec();
        let batch_dimension = self.batch_dimension || text == Some(TextIntake::Tokens);
        let backend = Backend::Elsewhere { max_queue_delay: Duration::from_micros(self.max_queue_delay_us) };
        let intake = (Intake::new(rules, lowercase), None);
        let (model, version) = (id.name.as_str(), id.version.as_str());
        Ok(Loaded {
            metrics: metrics.model(model, version, manifest.provider.as_str(), &labels),
            form: Arc::new(Form::new(&manifest, &self.answers, batch_dimension, &first_run)),
            tensor_form: Arc::new(Form::of_tensors(&self.interface, &first_run)),
            model: Model::new(id, intake, Sharing::default(), backend, postprocess),
            fingerprint,
            manifest,
            signature,
            interface: self.interface,
            answers: self.answers,
            first_keys: self.first_keys,
            zeros: self.zeros,
            digest: self.digest,
            size: self.size,
            quality: self.quality,
            batch_dimension: self.batch_dimension,
            max_batch_size: self.max_batch_size,
            max_padding: self.max_padding,
            max_tokens: self.max_tokens,
            batching_reason: Cow::Owned(self.batching_reason),
            choice: self.choice,
            instances: self.instances,
            intra_threads: self.intra_threads,
            example_length: self.example_length,
            load_time: Duration::from_micros(self.load_time_us),
            golden_samples: self.golden_samples,
            elsewhere: Some(elsewhere),
        })
    }
}

/// A value of a first run, of which only the names are asked.
fn named(keys: &Option<Arc<[String]>>) -> Option<Value> {
    Some(Value { tensor: Tensor::new(vec![0], Data::Fp32(Vec::new()))?, keys: keys.clone() })
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
