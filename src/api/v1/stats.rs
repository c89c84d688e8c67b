//! `GET /v1/stats`: what the metrics say, as JSON, for those who have no Prometheus at hand.

mod answer;
mod fleet;

use std::sync::Arc;

use axum::{Json, extract::State};
use serde_json::json;

pub(in crate::api) use self::answer::Stats;
use self::answer::{Buckets, Drift, FeatureStats, LookupCounts, ModelStats, Quantiles, TierStats};
use crate::{
    api::{auth::Caller, state::ApiState},
    error::Error,
    telemetry::{
        labels::{Label, Lookup, Source, Tier},
        metrics::{Distribution, OTHER, Reading},
    },
};

/// Requests that ask for predictions; those of operators would make every latency look good.
const ROUTES: [&str; 6] = [
    "/v1/predict",
    "/v1/predict_batch",
    "/v1/embeddings",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer",
    "/inference.GRPCInferenceService/ModelInfer",
];

/// What the metrics said at one moment of all models, before anybody's part is taken out of it.
#[derive(Debug)]
pub(in crate::api) struct Everything {
    stats: Stats,
    reading: Reading,
}

/// What the metrics say, as JSON
///
/// Totals since the start, and the models that the caller may use.
// Read once for all who wait at the same time, as `/metrics` is.
#[utoipa::path(
    get,
    path = "/v1/stats",
    operation_id = "stats",
    tag = "operation",
    responses((status = 200, description = "The counters", body = Stats))
)]
pub(in crate::api) async fn show(State(state): State<ApiState>, caller: Caller) -> Result<Json<Stats>, Error> {
    let this = state.clone();
    let renderings = &state.renderings;
    let all = renderings.stats.get(&renderings.renderer, (), move |()| Ok(Arc::new(everything(&this)))).await?;
    let queue = state.queue.as_ref().map(|queue| fleet::of_queue(&all.reading, queue, &caller));
    let models = all.stats.models.iter().filter(|entry| caller.may_use(&entry.model)).cloned().collect();
    Ok(Json(Stats { models, queue, ..all.stats.clone() }))
}

fn everything(state: &ApiState) -> Everything {
    state.cache.observe();
    let reading = state.metrics.read();
    let models = reading
        .pairs("predictions_total", "model", "version")
        .into_iter()
        .filter(|(model, _)| model != OTHER)
        .map(|(model, version)| of_model(&reading, model, version))
        .collect();
    Everything { stats: totals(&reading, state.started.elapsed().as_secs(), models), reading }
}

fn totals(reading: &Reading, uptime_seconds: u64, models: Vec<ModelStats>) -> Stats {
    let status = |class: char| -> u64 {
        let statuses = reading.pairs("http_requests_total", "route", "status");
        let of_class =
            statuses.iter().filter(|(route, status)| ROUTES.contains(&&**route) && status.starts_with(class));
        of_class
            .map(|(route, status)| reading.count("http_requests_total", &[("route", route), ("status", status)]))
            .sum()
    };
    let mut latency = Distribution::default();
    for route in ROUTES {
        latency.add(reading.distribution("http_request_latency_seconds", &[("route", route)]));
    }
    let Quantiles { avg, p50, p95, p99 } = Quantiles::of(&latency);
    Stats {
        total_requests: latency.count,
        failed_requests: status('5'),
        refused_requests: status('4'),
        requests_in_flight: reading.count("http_requests_in_flight", &[]),
        avg_latency_ms: avg,
        p50_latency_ms: p50,
        p95_latency_ms: p95,
        p99_latency_ms: p99,
        latency_buckets: Buckets::of(latency),
        predictions: reading.count("predictions_total", &[("outcome", "ok")]),
        cache_hit_rate: hit_rate(reading, &[]),
        queue_depth: reading.count("inference_queue_depth", &[]),
        uptime_seconds,
        cache: Tier::ALL.iter().map(|tier| of_tier(reading, *tier)).collect(),
        models,
        queue: None,
    }
}

fn of_tier(reading: &Reading, tier: Tier) -> TierStats {
    let own = [("tier", tier.as_str())];
    let lookups = |result: Lookup| reading.count("cache_lookups_total", &[own[0], ("result", result.as_str())]);
    let count = |name| reading.count(name, &own);
    let in_memory = tier == Tier::Memory;
    TierStats {
        tier: tier.as_str(),
        lookups: LookupCounts {
            hit: lookups(Lookup::Hit),
            miss: lookups(Lookup::Miss),
            error: lookups(Lookup::Error),
            collapsed: lookups(Lookup::Collapsed),
            bypass: lookups(Lookup::Bypass),
        },
        saved_seconds: reading.sum("cache_saved_seconds_total", &own),
        entries: in_memory.then(|| count("cache_entries")),
        bytes: in_memory.then(|| count("cache_bytes")),
        circuit_open: (!in_memory).then(|| count("cache_circuit_open") > 0),
    }
}

fn of_model(reading: &Reading, model: String, version: String) -> ModelStats {
    let own = [("model", &*model), ("version", &*version)];
    let all = reading.count("predictions_total", &own);
    let ok = [own[0], own[1], ("outcome", "ok")];
    let of_source =
        |source: &Source| reading.count("predictions_total", &[ok[0], ok[1], ok[2], ("source", source.as_str())]);
    let predictions = reading.count("predictions_total", &ok);
    let runs = reading.distribution("inference_latency_seconds", &own);
    let Quantiles { avg, p50, p95, p99 } = Quantiles::of(&runs);
    ModelStats {
        predictions,
        failed_predictions: all - predictions,
        sources: Source::ALL.iter().map(|source| (source.as_str().to_owned(), json!(of_source(source)))).collect(),
        cache_hit_rate: hit_rate(reading, &own),
        runs: runs.count,
        avg_inference_ms: avg,
        p50_inference_ms: p50,
        p95_inference_ms: p95,
        p99_inference_ms: p99,
        inference_buckets: Buckets::of(runs),
        avg_batch_size: reading.distribution("inference_batch_size", &own[..1]).mean(),
        queue_depth: reading.count("inference_queue_depth", &own[..1]),
        drift: drift(reading, own),
        features: features(reading, own),
        model,
        version,
    }
}

/// Nothing for a version that was not measured.
fn drift(reading: &Reading, own: [(&str, &str); 2]) -> Option<Drift> {
    let watched = reading.pairs("prediction_drift_samples", "model", "version");
    let index = |of| reading.sum("prediction_drift", &[own[0], own[1], ("of", of)]);
    watched.iter().any(|(model, version)| [model, version] == [own[0].1, own[1].1]).then(|| Drift {
        class: index("class"),
        confidence: index("confidence"),
        samples: reading.count("prediction_drift_samples", &own),
    })
}

/// Of each number that a version takes; none of one that does not say what it was trained on.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole and not negative")]
fn features(reading: &Reading, own: [(&str, &str); 2]) -> Vec<FeatureStats> {
    let by_feature = |name| reading.by(name, &own, "feature");
    let (mean, shift) = (by_feature("feature_mean"), by_feature("feature_shift"));
    let (outside, missing) = (by_feature("feature_out_of_range_ratio"), by_feature("feature_missing_ratio"));
    // JSON has no word for the mean of nothing, nor for what is infinitely far.
    let finite = |value: Option<&f64>| value.copied().filter(|value| value.is_finite());
    let feature = |(feature, samples): (String, f64)| FeatureStats {
        samples: samples as u64,
        mean: finite(mean.get(&feature)),
        shift: finite(shift.get(&feature)),
        out_of_range_ratio: outside.get(&feature).copied().unwrap_or_default(),
        missing_ratio: missing.get(&feature).copied().unwrap_or_default(),
        feature,
    };
    by_feature("feature_samples").into_iter().map(feature).collect()
}

/// The share of predictions that were known; none of nothing.
#[expect(clippy::cast_precision_loss, reason = "2^53 predictions are enough")]
fn hit_rate(reading: &Reading, labels: &[(&str, &str)]) -> Option<f64> {
    let count = |source: Option<&str>| {
        let mut wanted = labels.to_vec();
        wanted.push(("outcome", "ok"));
        wanted.extend(source.map(|source| ("source", source)));
        reading.count("predictions_total", &wanted)
    };
    let (all, known) = (count(None), count(Some(Source::Memory.as_str())) + count(Some(Source::Redis.as_str())));
    (all > 0).then(|| known as f64 / all as f64)
}
