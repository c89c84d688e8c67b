//! What is told of the counters.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::telemetry::metrics::Distribution;

/// Totals since the start, and the models that the caller may use. Times are in milliseconds, and `null` before anything
/// was measured.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::api) struct Stats {
    /// Requests that asked for predictions.
    pub total_requests: u64,
    /// Of these, those that failed by the server's fault (status 5xx).
    pub failed_requests: u64,
    /// Of these, those that were refused (status 4xx).
    pub refused_requests: u64,
    /// Requests of any kind that are being answered.
    pub requests_in_flight: u64,
    pub avg_latency_ms: Option<f64>,
    pub p50_latency_ms: Option<f64>,
    pub p95_latency_ms: Option<f64>,
    pub p99_latency_ms: Option<f64>,
    pub latency_buckets: Buckets,
    /// Items that were predicted.
    pub predictions: u64,
    /// The share of these that were known already.
    pub cache_hit_rate: Option<f64>,
    /// Rows that wait for a run.
    pub queue_depth: u64,
    pub uptime_seconds: u64,
    pub cache: Vec<TierStats>,
    pub models: Vec<ModelStats>,
    /// The way to the model workers; `null` where models are run by this process.
    pub queue: Option<QueueStats>,
}

/// How often which time was met: `cumulative[i]` values were at most `le_ms[i]`, of `count` in all. As they are counted, so that
/// the difference of two readings is what happened between them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::api) struct Buckets {
    le_ms: Vec<f64>,
    cumulative: Vec<u64>,
    count: u64,
}

/// One tier of the cache.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::api) struct TierStats {
    #[schema(example = "memory")]
    pub tier: &'static str,
    /// Lookups by their result: `hit`, `miss`, `error`, `collapsed`, `bypass`.
    #[serde(flatten)]
    #[schema(inline)]
    pub lookups: LookupCounts,
    /// Seconds that models did not have to run.
    pub saved_seconds: f64,
    /// Answers that are kept; of the memory tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Their bytes; of the memory tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether the tier is left alone after failures; of the redis tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_open: Option<bool>,
}

/// Lookups by their result.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::api) struct LookupCounts {
    pub hit: u64,
    pub miss: u64,
    pub error: u64,
    pub collapsed: u64,
    pub bypass: u64,
}

/// One version of a model.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::api) struct ModelStats {
    #[schema(example = "toxicity")]
    pub model: String,
    #[schema(example = "1")]
    pub version: String,
    pub predictions: u64,
    pub failed_predictions: u64,
    /// Predictions by where they came from: `computed`, `memory`, `redis`, `collapsed`.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub sources: Map<String, Value>,
    pub cache_hit_rate: Option<f64>,
    /// Runs of the graph.
    pub runs: u64,
    pub avg_inference_ms: Option<f64>,
    pub p50_inference_ms: Option<f64>,
    pub p95_inference_ms: Option<f64>,
    pub p99_inference_ms: Option<f64>,
    pub inference_buckets: Buckets,
    /// Rows per run.
    pub avg_batch_size: Option<f64>,
    pub queue_depth: u64,
    /// `null` for a version that brings no figures to compare with.
    pub drift: Option<Drift>,
    /// The numbers that it takes, where it says what they were in its training rows.
    pub features: Vec<FeatureStats>,
}

/// The way to the model workers, as it was looked at last.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::api) struct QueueStats {
    /// What is wrong with the Redis between; all else is from before then. `null` when nothing is.
    #[schema(example = "it cannot be reached")]
    pub trouble: Option<String>,
    /// Questions of this server that wait for their answers.
    pub pending_requests: u64,
    /// Entries that were given up and are kept.
    pub dead_letters: u64,
    /// Models that a worker serves, or has served since this server was started.
    pub models: Vec<QueuedModel>,
    /// Live workers, those included that are not listed.
    pub workers_in_all: u64,
    /// At most 64 of them, those first that have lived longest.
    pub workers: Vec<WorkerStats>,
}

/// What is asked of the workers of one model, by all API servers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::api) struct QueuedModel {
    #[schema(example = "toxicity")]
    pub model: String,
    /// Live workers that serve it.
    pub workers: u64,
    /// Entries that wait for a worker or are held by one.
    pub entries: u64,
    /// Age of the oldest of these.
    pub oldest_ms: u64,
}

/// One live worker.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::api) struct WorkerStats {
    /// Its id, made anew at each start.
    pub worker: String,
    /// Since its start, by the clocks of both machines.
    pub uptime_seconds: u64,
    /// At most 64 of what it serves.
    pub versions: Vec<ServedVersion>,
    /// Those that are not listed.
    pub further_versions: u64,
}

/// How far a worker is with a version.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::api) struct ServedVersion {
    #[schema(example = "toxicity")]
    pub model: String,
    /// `null` when the model can have none.
    #[schema(example = "1")]
    pub version: Option<String>,
    /// `leaving`: it takes no more entries, and ends those that it holds.
    #[schema(example = "ready", pattern = "^(ready|leaving|loading|failed|not_built)$")]
    pub state: &'static str,
}

/// How far the last hour is from where the version was measured, as population stability indices.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::api) struct Drift {
    /// Of the classes that it names.
    pub class: f64,
    /// Of how sure it is.
    pub confidence: f64,
    /// Predictions that were looked at; below 200 the indices are 0.
    pub samples: u64,
}

/// What a number was in the last hour, and how far that is from the training rows.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::api) struct FeatureStats {
    #[schema(example = "bmi")]
    pub feature: String,
    /// Rows that were looked at.
    pub samples: u64,
    /// In its own unit; `null` of nothing.
    pub mean: Option<f64>,
    /// How far the mean is from that of the training rows, in their standard deviations; `null` for one that was always
    /// the same there and is not any more.
    pub shift: Option<f64>,
    /// Values that are below or above all of the training rows.
    pub out_of_range_ratio: f64,
    /// Rows in which it is missing.
    pub missing_ratio: f64,
}

/// Mean and percentiles in milliseconds.
#[derive(Debug)]
pub(super) struct Quantiles {
    pub avg: Option<f64>,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

impl Quantiles {
    pub(super) fn of(times: &Distribution) -> Self {
        let quantile = |share| times.quantile(share).map(millis);
        Self { avg: times.mean().map(millis), p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) }
    }
}

impl Buckets {
    pub(super) fn of(times: Distribution) -> Self {
        Self {
            le_ms: times.bounds.iter().copied().map(millis).collect(),
            cumulative: times.cumulative,
            count: times.count,
        }
    }
}

/// Seconds in milliseconds, with three decimals.
fn millis(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e3
}
