//! Loads one version: opens its sessions, finds out whether it batches, warms it, verifies its golden samples.

use std::{
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::sync::Semaphore;

use super::{ModelSource, Source, VersionSource, digest::digest, golden::Golden, text};
use crate::{
    cache::{Fingerprint, Form},
    config::RuntimeConfig,
    engine::{
        Backend, Intake, Limits, Model, Pool, Postprocess, Stub,
        session::{Cancel, Library, Options, Session, SharedWeights},
        warmup::{self, Warm},
        weights,
    },
    model::{Manifest, ModelId, Provider, Signature, Task, conform::Rules},
    telemetry::{
        metrics::{Metrics, ModelMetrics},
        millis,
    },
};

/// Files of people's own writing are bounded, as everything is.
pub(super) const SMALL_FILE: u64 = 16 * 1024 * 1024;

/// More sessions than this help a small model little, and cost memory each. A manifest can ask for more.
const MOST_INSTANCES: usize = 8;

/// For all tries of one version. A model that is slower than this is served without having been warmed up.
const WARMUP_LIMIT: Duration = Duration::from_secs(10);

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
    /// SHA-256 over its files, in hexadecimal.
    pub digest: String,
    /// What its answers depend on.
    pub fingerprint: Fingerprint,
    /// What its answers look like.
    pub form: Arc<Form>,
    /// Size of its files in bytes.
    pub size: u64,
    /// How good it is: the training side's held-out figures, as they stand in `metrics.json`.
    pub quality: Option<serde_json::Value>,
    /// Whether an item leaves out the first dimension of the declared shapes.
    pub batch_dimension: bool,
    /// Rows in one run; `None` when items are run one by one.
    pub max_batch_size: Option<usize>,
    /// Why the batch size is what it is.
    pub batching_reason: &'static str,
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
        let limits = Limits { capacity: config.queue_capacity, max_wait: config.max_queue_wait };
        Self { library, threads, limits, max_text_chars, tokenizing: Arc::new(Semaphore::new(threads)), metrics }
    }

    /// How many versions are worth loading at the same time.
    pub const fn loads_at_once(&self) -> usize {
        self.threads
    }

    /// Counts a version that was tried.
    pub fn count(&self, id: &ModelId, loaded: Option<&Loaded>) {
        let (model, version) = (id.name.as_str(), id.version.as_str());
        match loaded {
            None => self.metrics.model_failed(),
            Some(Loaded { manifest, digest, load_time, .. }) => {
                self.metrics.model_loaded(model, version, manifest.provider.as_str(), digest, *load_time);
            }
        }
    }

    /// Loads a version and proves it. Blocks for as long as that takes; call it where a runtime is entered.
    ///
    /// # Errors
    /// Why it cannot be served, without paths of the machine.
    pub fn load(&self, id: &ModelId, source: &ModelSource, version: &VersionSource) -> anyhow::Result<Loaded> {
        let started = Instant::now();
        let manifest = source.manifest.clone();
        let parts = match manifest.provider {
            Provider::Stub => stub(&manifest)?,
            // The binding panics on types that it does not know; that must cost this model only.
            Provider::Onnxruntime => catch_unwind(AssertUnwindSafe(|| self.sessions(id, &manifest, version)))
                .unwrap_or_else(|_| Err(anyhow::anyhow!("the graph has inputs or outputs of an unknown kind")))?,
        };
        let (text, encoder) = text::intake(&manifest, &version.source, &parts.signature, &self.tokenizing)?;
        let rules = Rules {
            signature: Arc::clone(&parts.signature),
            batched: parts.batch_dimension,
            several_rows: manifest.task != Task::Classification,
            text,
            max_text_chars: usize::MAX,
        };
        let lowercase = manifest.text.as_ref().is_some_and(|text| text.lowercase);
        let postprocess = Postprocess::new(&manifest, &parts.signature)?;
        if let Some(run) = &parts.first_run {
            postprocess.check(&run.outputs)?;
        }
        let intake = Intake::new(rules, lowercase);
        let mut model = Model::new(id.clone(), intake, parts.max_batch_size, parts.backend, postprocess);
        // The answer to a text has no batch dimension, however the graph is declared.
        let batch_dimension = parts.batch_dimension || encoder.is_some();
        model.encode_texts(encoder);

        let (digest, size) = digest(&version.source, &manifest)?;
        let mut golden_samples = 0;
        if let Some(text) = companion(&version.source, "golden.json")? {
            let golden = Golden::parse(&text)?;
            golden_samples = golden.len();
            tokio::runtime::Handle::current().block_on(golden.verify(&model))?;
        }
        // Callers are limited, samples are not: a lower limit must not make a good model fail to load.
        model.limit_texts(self.max_text_chars);
        let metrics = self.metrics.model(id.name.as_str(), id.version.as_str(), manifest.provider.as_str());
        // Only now: what the golden samples ran is nobody's traffic.
        model.measure(metrics.clone());
        let quality = companion(&version.source, "metrics.json")?
            .map(|text| serde_json::from_str(&text).context("metrics.json cannot be read"))
            .transpose()?;
        let batching = (parts.batch_dimension, parts.max_batch_size);
        let first_outputs = parts.first_run.as_ref().map_or(&[][..], |run| &run.outputs);
        Ok(Loaded {
            fingerprint: Fingerprint::new(id, &digest, &manifest, &parts.signature, batching),
            form: Arc::new(Form::new(&manifest, &parts.signature, batch_dimension, first_outputs)),
            model,
            manifest,
            signature: parts.signature,
            digest,
            size,
            quality,
            metrics,
            batch_dimension: parts.batch_dimension,
            max_batch_size: parts.max_batch_size,
            batching_reason: parts.batching_reason,
            instances: parts.instances,
            intra_threads: parts.intra_threads,
            example_length: parts.first_run.map(|run| run.length),
            load_time: started.elapsed(),
            golden_samples,
        })
    }

    fn sessions(&self, id: &ModelId, manifest: &Manifest, version: &VersionSource) -> anyhow::Result<Parts> {
        let library = self.library.context("ONNX Runtime is not loaded")?;
        let instances = manifest.execution.instances.unwrap_or_else(|| self.threads.min(MOST_INSTANCES));
        let intra_threads = manifest.execution.intra_threads.unwrap_or(1);
        let options = Options { intra_threads, outputs: Postprocess::wanted_outputs(manifest) };
        let graph = version.source.graph();
        check_file(&graph)?;
        let weights = if instances > 1 { weights::read(&graph)? } else { Vec::new() };
        let weights = SharedWeights::new(library, weights)?;
        let open = |_| Session::open(library, &graph, &options, &weights);
        let mut sessions = (0..instances).map(open).collect::<anyhow::Result<Vec<_>>>()?;
        let signature = Arc::clone(sessions.first().context("a model needs a session")?.signature());

        let started = Instant::now();
        let ((max_batch_size, batching_reason), warm) = warmup::within(WARMUP_LIMIT, |cancel| {
            let batching = batching(manifest, &mut sessions[0], cancel)?;
            let warm: Vec<_> = sessions.iter_mut().map(|session| warmup::run_once(session, cancel)).collect();
            anyhow::Ok((batching, warm))
        })??;
        let all_warm = warm.iter().all(Option::is_some);
        // The shortest: a session's very first run is slower than all that follow.
        let run_time = warm.iter().flatten().map(|run| run.time).min();
        let first_run = warm.into_iter().next().flatten();
        let (model, warmup_ms) = (id.to_string(), millis(started.elapsed()));
        tracing::debug!(model, warm = all_warm, warmup_ms, max_batch_size, batching_reason, "sessions are open");

        let pool = Pool::start(id.name.as_str(), sessions, self.limits, run_time)?;
        let backend = Backend::Pool(pool);
        // How an input is written must not depend on what the tries showed.
        let batch_dimension = max_batch_size.is_some() || signature.has_batch_dimension();
        Ok(Parts {
            backend,
            signature,
            batch_dimension,
            max_batch_size,
            batching_reason,
            instances,
            intra_threads,
            first_run,
        })
    }
}

/// Says what is wrong with a graph's file before anything opens it: opening a pipe would wait for ever.
fn check_file(graph: &Path) -> anyhow::Result<()> {
    let name = graph.file_name().unwrap_or_default().to_string_lossy();
    let metadata = graph.metadata().with_context(|| format!("'{name}' cannot be read"))?;
    anyhow::ensure!(!metadata.is_dir(), "'{name}' is a directory");
    anyhow::ensure!(metadata.is_file(), "'{name}' is not a file");
    anyhow::ensure!(metadata.len() > 0, "'{name}' is empty");
    Ok(())
}

struct Parts {
    backend: Backend,
    signature: Arc<Signature>,
    batch_dimension: bool,
    max_batch_size: Option<usize>,
    batching_reason: &'static str,
    instances: usize,
    intra_threads: usize,
    /// `None` when the graph took no made-up input.
    first_run: Option<Warm>,
}

fn stub(manifest: &Manifest) -> anyhow::Result<Parts> {
    let signature = Stub::signature(manifest);
    anyhow::ensure!(signature.could_batch(), "a stub's inputs and outputs start with a dynamic dimension, -1");
    Ok(Parts {
        backend: Backend::Stub(Stub::new(manifest.task, &signature)),
        signature: Arc::new(signature),
        batch_dimension: true,
        max_batch_size: Some(manifest.batching.max_batch_size.unwrap_or(warmup::DEFAULT_BATCH_SIZE)),
        batching_reason: "declared",
        instances: 1,
        intra_threads: 1,
        first_run: Some(Warm { length: 1, outputs: Vec::new(), time: Duration::ZERO }),
    })
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

/// Reads a file that may lie beside the graph.
pub(super) fn companion(source: &Source, name: &str) -> anyhow::Result<Option<String>> {
    companion_up_to(SMALL_FILE, source, name)
}

/// The same for a file of at most `limit` bytes.
pub(super) fn companion_up_to(limit: u64, source: &Source, name: &str) -> anyhow::Result<Option<String>> {
    let Some(path) = source.companion(name).filter(|path| path.exists()) else { return Ok(None) };
    let size = path.metadata().with_context(|| format!("'{name}' cannot be read"))?.len();
    anyhow::ensure!(size <= limit, "'{name}' is larger than {limit} bytes");
    std::fs::read_to_string(&path).map(Some).with_context(|| format!("'{name}' cannot be read"))
}
