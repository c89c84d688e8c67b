//! Loads one version: opens its sessions, finds out whether it batches, warms it, verifies its golden samples.

use std::{
    borrow::Cow,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::sync::Semaphore;

use super::{
    Elsewhere, ModelSource, Source, VersionSource, digest::digest, features, golden::Golden, interface::interface,
    opened, text,
};
use crate::{
    cache::{Fingerprint, Form},
    config::RuntimeConfig,
    engine::{Choice, Intake, Limits, Model, Postprocess, Sharing, TextEncoder, session::Library},
    files::{self, MIB},
    model::{
        Manifest, Missing, ModelId, Provider, Signature, Task,
        conform::{Rules, ZeroSizes},
    },
    telemetry::metrics::{LoadedModel, Metrics, ModelMetrics, Reference},
};

/// Files of people's own writing are bounded, as everything is.
pub(super) const SMALL_FILE: u64 = 16 * MIB;

/// How much of a run may be padding, where the manifest does not say.
const DEFAULT_PADDING: f64 = 0.1;

/// What names the entries of each output, if anything does.
pub(super) type FirstKeys = Vec<Option<Arc<[String]>>>;

/// What loading needs from the configuration and the machine.
#[derive(Debug)]
pub struct Loader {
    library: Option<&'static Library>,
    threads: usize,
    limits: Limits,
    max_text_chars: usize,
    /// One permit per text that may be tokenised at the same time, whatever its model.
    tokenizing: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// A version that is being served, and all that is told about it.
#[derive(Debug)]
pub struct Loaded {
    /// The part that predicts.
    pub model: Model,
    /// Its manifest.
    pub manifest: Manifest,
    /// What it takes and gives.
    pub signature: Arc<Signature>,
    /// The same as callers see it who send and get tensors: see `registry/interface.rs`.
    pub interface: Signature,
    /// SHA-256 over its files, in hexadecimal.
    pub digest: String,
    /// What its answers depend on.
    pub fingerprint: Fingerprint,
    /// What its answers look like.
    pub form: Arc<Form>,
    /// What they look like for who asks for tensors.
    pub tensor_form: Arc<Form>,
    /// Size of its files in bytes.
    pub size: u64,
    /// How good it is: the training side's held-out figures, as they stand in `metrics.json`.
    pub quality: Option<serde_json::Value>,
    /// Whether an item leaves out the first dimension of the declared shapes.
    pub batch_dimension: bool,
    /// Rows in one run; `None` when items are run one by one.
    pub max_batch_size: Option<usize>,
    /// How much of a run may be padding; only where there is any.
    pub max_padding: Option<f64>,
    /// Why the batch size is what it is.
    pub batching_reason: Cow<'static, str>,
    /// Tokens that a text is cut to, where tokens are made of it.
    pub max_tokens: Option<usize>,
    /// Where it is run; nothing where it is run here.
    pub elsewhere: Option<Elsewhere>,
    /// What its answers are declared as.
    pub(super) answers: Signature,
    /// What named the entries of each output in a first run; nothing where there was none.
    pub(super) first_keys: Option<FirstKeys>,
    /// The dimensions of its inputs that may have the size 0.
    pub(super) zeros: ZeroSizes,
    /// How runs get a thread, and why.
    pub choice: Choice,
    /// Sessions, and threads inside each.
    pub instances: usize,
    /// Threads inside one session.
    pub intra_threads: usize,
    /// A length of the dynamic dimensions with which the model takes made-up inputs, as far as that is known.
    pub example_length: Option<usize>,
    /// What is counted and measured of it.
    pub metrics: ModelMetrics,
    /// From nothing to ready.
    pub load_time: Duration,
    /// Golden samples that were compared.
    pub golden_samples: usize,
}

impl Loader {
    /// Follows the CPU quota and affinity unless the configuration says a number.
    pub fn new(
        config: &RuntimeConfig,
        library: Option<&'static Library>,
        max_text_chars: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        let available = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = if config.threads == 0 { available } else { config.threads };
        tracing::info!(
            threads,
            available,
            onnxruntime = library.map(Library::version),
            library = library.map(|library| library.path().display().to_string()),
            "inference threads chosen from {}",
            if config.threads == 0 { "the CPU quota and affinity" } else { "runtime.threads" }
        );
        if let Some(library) = library {
            metrics.server.onnxruntime(library.version());
        }
        let limits =
            Limits { capacity: config.queue_capacity, max_wait: config.max_queue_wait, max_delay: Duration::ZERO };
        Self { library, threads, limits, max_text_chars, tokenizing: Arc::new(Semaphore::new(threads)), metrics }
    }

    /// How many versions are worth loading at the same time.
    pub const fn loads_at_once(&self) -> usize {
        self.threads
    }

    /// Counts a version that was loaded.
    pub fn count(&self, id: &ModelId, Loaded { manifest, digest, load_time, instances, .. }: &Loaded) {
        let (model, version) = (id.name.as_str(), id.version.as_str());
        self.metrics.model_loaded(&LoadedModel {
            model,
            version,
            provider: manifest.provider.as_str(),
            digest,
            load_time: *load_time,
            instances: *instances,
        });
    }

    /// Ends the series of a version that is not served any more.
    pub fn forget(&self, loaded: &Loaded) {
        let (id, provider) = (loaded.model.id(), loaded.manifest.provider.as_str());
        self.metrics.model_unloaded(id.name.as_str(), id.version.as_str(), &loaded.digest, provider);
    }

    /// Ends the series that hold the digest of a version whose files have changed.
    pub fn forget_digest(&self, loaded: &Loaded) {
        let (id, provider) = (loaded.model.id(), loaded.manifest.provider.as_str());
        self.metrics.model_replaced(id.name.as_str(), id.version.as_str(), &loaded.digest, provider);
    }

    /// Tells how many versions cannot be served now.
    pub fn tell_failed(&self, versions: usize) {
        self.metrics.models_failed(versions);
    }

    /// Counts a version that could not be, or a model none of whose versions can.
    pub fn count_failed(&self) {
        self.metrics.model_failed();
    }

    /// Loads a version and proves it. Blocks for as long as that takes; call it where a runtime is entered.
    ///
    /// # Errors
    /// Why it cannot be served, without paths of the machine.
    pub fn load(&self, id: &ModelId, source: &ModelSource, version: &VersionSource) -> anyhow::Result<Loaded> {
        let started = Instant::now();
        let manifest = source.manifest.clone();
        let parts = match manifest.provider {
            Provider::Stub => opened::stub(&manifest)?,
            Provider::Onnxruntime => {
                let library = self.library.context("ONNX Runtime is not loaded")?;
                // The binding panics on types that it does not know; that must cost this model only.
                let open = || opened::graph(library, self.threads, &manifest, version.source.graph());
                catch_unwind(AssertUnwindSafe(open))
                    .unwrap_or_else(|_| Err(anyhow::anyhow!("the graph has inputs or outputs of an unknown kind")))?
            }
        };
        let (text, encoder) = text::intake(&manifest, &version.source, &parts.signature, &self.tokenizing)?;
        let rules = Rules {
            signature: Arc::clone(&parts.signature),
            batched: parts.batch_dimension,
            several_rows: manifest.task != Task::Classification,
            text,
            max_text_chars: usize::MAX,
            missing: missing(&manifest, &parts.signature)?,
            zeros: None,
        };
        let lowercase = manifest.text.as_ref().is_some_and(|text| text.lowercase);
        let postprocess = Postprocess::new(&manifest, &parts.signature)?;
        postprocess.check(&parts.first_outputs)?;
        let labels = postprocess.labels(&parts.first_outputs).to_vec();
        let intake = Intake::new(rules, lowercase);
        // The answer to a text has no batch dimension, however the graph is declared.
        let batch_dimension = parts.batch_dimension || encoder.is_some();
        let most = manifest.batching.max_padding.unwrap_or(DEFAULT_PADDING);
        let padding = encoder.as_ref().and_then(|encoder| encoder.padding(&parts.signature, most));
        let max_padding = padding.as_ref().map(|padding| padding.most);
        let answers = padding.as_ref().map_or_else(|| (*parts.signature).clone(), |it| it.answers(&parts.signature));
        let interface = interface(&manifest, &answers, text);
        let sharing = Sharing { max_batch_size: parts.max_batch_size, padding };
        let max_tokens = encoder.as_ref().map(TextEncoder::max_tokens);
        let first_keys = parts.first_outputs.iter().map(|value| value.keys.clone()).collect::<FirstKeys>();
        let first_keys = (!first_keys.is_empty()).then_some(first_keys);
        let (backend, choice) = parts.engine.start(id, &manifest, &sharing, self.limits)?;
        let mut model = Model::new(id.clone(), (intake, encoder), sharing, backend, postprocess);

        let (digest, size) = digest(&version.source, &manifest)?;
        let mut golden_samples = 0;
        let mut zeros = ZeroSizes::new(parts.max_batch_size.is_some());
        parts.without_elements.iter().for_each(|tensors| zeros.learn(tensors));
        if let Some(text) = companion(&version.source, "golden.json")? {
            let golden = Golden::parse(&text)?;
            golden_samples = golden.len();
            tokio::runtime::Handle::current().block_on(golden.verify(&model, &mut zeros))?;
        }
        // Callers are limited, samples are not: a lower limit must not make a good model fail to load.
        model.limit_texts(self.max_text_chars);
        model.limit_zeros(zeros.clone());
        model.name_entries(first_keys.clone().unwrap_or_default());
        let quality = companion(&version.source, "metrics.json")?
            .map(|text| serde_json::from_str(&text).context("metrics.json cannot be read"))
            .transpose()?;
        let metrics = self.measure(id, &manifest, &labels, (quality.as_ref(), &parts.signature));
        // Only now: what the golden samples ran is nobody's traffic.
        model.measure(metrics.clone());
        let max_batch_size = parts.max_batch_size;
        let batching = (parts.batch_dimension, max_batch_size);
        Ok(Loaded {
            fingerprint: Fingerprint::new(id, &digest, &manifest, &parts.signature, batching),
            form: Arc::new(Form::new(&manifest, &answers, batch_dimension, &parts.first_outputs)),
            tensor_form: Arc::new(Form::of_tensors(&interface, &parts.first_outputs)),
            interface,
            model,
            manifest,
            signature: parts.signature,
            digest,
            size,
            quality,
            metrics,
            batch_dimension: parts.batch_dimension,
            max_batch_size: parts.max_batch_size,
            max_padding,
            batching_reason: Cow::Borrowed(parts.batching_reason),
            max_tokens,
            answers,
            first_keys,
            zeros,
            elsewhere: None,
            choice,
            instances: parts.instances,
            intra_threads: parts.intra_threads,
            example_length: parts.example_length,
            load_time: started.elapsed(),
            golden_samples,
        })
    }

    /// The metrics of a version, with what `quality` says that they are to be compared with.
    fn measure(
        &self,
        id: &ModelId,
        manifest: &Manifest,
        labels: &[String],
        (quality, signature): (Option<&serde_json::Value>, &Signature),
    ) -> ModelMetrics {
        let (model, version) = (id.name.as_str(), id.version.as_str());
        let mut metrics = self.metrics.model(model, version, manifest.provider.as_str(), labels);
        let Some(figures) = quality else { return metrics };
        if let Some(reference) = Reference::of(figures, labels) {
            self.metrics.watch_drift(model, version, reference);
        }
        match features::read(figures, signature) {
            Ok(features) if features.is_empty() => {}
            Ok(features) => self.metrics.watch_features(&mut metrics, features),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(model, version, error, "the features in metrics.json are not watched");
            }
        }
        metrics
    }
}

/// Whether floats may be missing.
///
/// # Errors
/// When the manifest says so of a graph that takes none.
pub(super) fn missing(manifest: &Manifest, signature: &Signature) -> anyhow::Result<bool> {
    let missing = manifest.input.missing == Missing::Nan;
    let floats = signature.inputs.iter().any(|spec| spec.datatype.is_float());
    anyhow::ensure!(floats || !missing, "input.missing is \"nan\", but no input takes floats");
    Ok(missing)
}

/// Reads a file that may lie beside the graph.
pub(super) fn companion(source: &Source, name: &str) -> anyhow::Result<Option<String>> {
    companion_up_to(SMALL_FILE, source, name)
}

/// The same for a file of at most `limit` bytes.
pub(super) fn companion_up_to(limit: u64, source: &Source, name: &str) -> anyhow::Result<Option<String>> {
    let Some(path) = source.companion(name).filter(|path| path.exists()) else { return Ok(None) };
    files::read_to_string(&path, limit).map(Some).with_context(|| format!("'{name}' cannot be read"))
}
