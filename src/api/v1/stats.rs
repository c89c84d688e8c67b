//! `GET /v1/stats`: what the metrics say, as JSON, for those who have no Prometheus at hand.

use axum::{Json, extract::State};
use serde_json::{Map, Value, json};

use crate::{
    api::{auth::Caller, state::ApiState},
    error::Error,
    telemetry::{
        labels::{Label, Lookup, Source, Tier},
        metrics::{Distribution, OTHER, Reading},
    },
};

/// Requests that ask for predictions; those of operators would make every latency look good.
const ROUTES: [&str; 5] = [
    "/v1/predict",
    "/v1/predict_batch",
    "/v1/embeddings",
    "/v2/models/{model}/infer",
    "/v2/models/{model}/versions/{version}/infer",
];

/// Totals since the start, and the models that the caller may use. Read away from the async threads, as `/metrics` is.
pub(in crate::api) async fn show(State(state): State<ApiState>, caller: Caller) -> Result<Json<Value>, Error> {
    state.cache.observe();
    let uptime = state.started.elapsed();
    let reading = tokio::task::spawn_blocking(move || state.metrics.read()).await.map_err(Error::internal)?;
    let models: Vec<Value> = reading
        .pairs("predictions_total", "model", "version")
        .into_iter()
        .filter(|(model, _)| model != OTHER && caller.may_use(model))
        .map(|(model, version)| of_model(&reading, &model, &version))
        .collect();
    let mut document = totals(&reading);
    document.insert("uptime_seconds".to_owned(), json!(uptime.as_secs()));
    document.insert("cache".to_owned(), Tier::ALL.iter().map(|tier| of_tier(&reading, tier.as_str())).collect());
    document.insert("models".to_owned(), json!(models));
    Ok(Json(Value::Object(document)))
}

fn totals(reading: &Reading) -> Map<String, Value> {
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
    let mut document = Map::new();
    document.insert("total_requests".to_owned(), json!(latency.count));
    document.insert("failed_requests".to_owned(), json!(status('5')));
    document.insert("refused_requests".to_owned(), json!(status('4')));
    document.insert("requests_in_flight".to_owned(), json!(reading.count("http_requests_in_flight", &[])));
    quantiles(&mut document, "latency", &latency);
    document.insert("latency_buckets".to_owned(), buckets(&latency));
    document.insert("predictions".to_owned(), json!(reading.count("predictions_total", &[("outcome", "ok")])));
    document.insert("cache_hit_rate".to_owned(), json!(hit_rate(reading, &[])));
    document.insert("queue_depth".to_owned(), json!(reading.count("inference_queue_depth", &[])));
    document
}

fn of_tier(reading: &Reading, tier: &str) -> Value {
    let mut document = Map::new();
    document.insert("tier".to_owned(), json!(tier));
    for result in Lookup::ALL.iter().map(|result| result.as_str()) {
        let count = reading.count("cache_lookups_total", &[("tier", tier), ("result", result)]);
        document.insert(result.to_owned(), json!(count));
    }
    let own = [("tier", tier)];
    document.insert("saved_seconds".to_owned(), json!(reading.sum("cache_saved_seconds_total", &own)));
    if tier == Tier::Memory.as_str() {
        document.insert("entries".to_owned(), json!(reading.count("cache_entries", &own)));
        document.insert("bytes".to_owned(), json!(reading.count("cache_bytes", &own)));
    } else {
        document.insert("circuit_open".to_owned(), json!(reading.count("cache_circuit_open", &own) > 0));
    }
    Value::Object(document)
}

fn of_model(reading: &Reading, model: &str, version: &str) -> Value {
    let own = [("model", model), ("version", version)];
    let all = reading.count("predictions_total", &own);
    let ok = [own[0], own[1], ("outcome", "ok")];
    let of_source =
        |source: &Source| reading.count("predictions_total", &[ok[0], ok[1], ok[2], ("source", source.as_str())]);
    let sources: Map<String, Value> =
        Source::ALL.iter().map(|source| (source.as_str().to_owned(), json!(of_source(source)))).collect();
    let predictions = reading.count("predictions_total", &ok);
    let runs = reading.distribution("inference_latency_seconds", &own);
    let mut document = Map::new();
    document.insert("model".to_owned(), json!(model));
    document.insert("version".to_owned(), json!(version));
    document.insert("predictions".to_owned(), json!(predictions));
    document.insert("failed_predictions".to_owned(), json!(all - predictions));
    document.insert("sources".to_owned(), Value::Object(sources));
    document.insert("cache_hit_rate".to_owned(), json!(hit_rate(reading, &own)));
    document.insert("runs".to_owned(), json!(runs.count));
    quantiles(&mut document, "inference", &runs);
    document.insert("inference_buckets".to_owned(), buckets(&runs));
    let rows = reading.distribution("inference_batch_size", &own[..1]);
    document.insert("avg_batch_size".to_owned(), json!(rows.mean()));
    document.insert("queue_depth".to_owned(), json!(reading.count("inference_queue_depth", &own[..1])));
    document.insert("drift".to_owned(), drift(reading, own));
    Value::Object(document)
}

/// How far the last hour is from where the version was measured; `null` for a version that was not.
fn drift(reading: &Reading, own: [(&str, &str); 2]) -> Value {
    let watched = reading.pairs("prediction_drift_samples", "model", "version");
    if !watched.iter().any(|(model, version)| [model, version] == [own[0].1, own[1].1]) {
        return Value::Null;
    }
    let index = |of| reading.sum("prediction_drift", &[own[0], own[1], ("of", of)]);
    json!({
        "class": index("class"),
        "confidence": index("confidence"),
        "samples": reading.count("prediction_drift_samples", &own),
    })
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

fn quantiles(document: &mut Map<String, Value>, what: &str, times: &Distribution) {
    let millis = |seconds: Option<f64>| json!(seconds.map(|seconds| (seconds * 1e6).round() / 1e3));
    document.insert(format!("avg_{what}_ms"), millis(times.mean()));
    for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
        document.insert(format!("{name}_{what}_ms"), millis(times.quantile(share)));
    }
}

/// As they are counted, so that the difference of two readings is what happened between them.
fn buckets(times: &Distribution) -> Value {
    let bounds: Vec<f64> = times.bounds.iter().map(|seconds| (seconds * 1e6).round() / 1e3).collect();
    json!({"le_ms": bounds, "cumulative": times.cumulative, "count": times.count})
}
