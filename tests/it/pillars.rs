//! One request, wherever it is told of: header, log line, record, spans and metrics are views of one measurement.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use serde_json::{Value, json};

use crate::support::{Collector, KeysFile, Metrics, Server, attribute, glassbox, variable};

const ID: &str = "follow-me-everywhere";

/// All there are, for a request that passes all of them.
const STAGES: [&str; 10] =
    ["auth", "cache", "decode", "encode", "inference", "other", "postprocess", "preprocess", "queue", "rate_limit"];

/// What a view says: milliseconds by stage, and of the whole request.
struct View {
    name: &'static str,
    stages: BTreeMap<String, f64>,
    total: f64,
}

#[tokio::test(flavor = "multi_thread")]
async fn header_line_record_spans_and_metrics_tell_the_same_times_of_one_request() {
    let (collector, file) = (Collector::grpc().await, KeysFile::new());
    let key = file.create(&["--scope", "predict", "--scope", "admin"]);
    let mut command = glassbox(&["serve", "--config", "config/development.toml", "--listen", "127.0.0.1:0"]);
    for (name, value) in [
        ("auth.keys_file", file.path().to_str().unwrap()),
        ("rate_limit.enabled", "true"),
        ("telemetry.log_format", "json"),
        ("telemetry.otlp_endpoint", &collector.url()),
        ("telemetry.sample_ratio", "1"),
    ] {
        command.env(variable(name), value);
    }
    let mut server = Server::start(&mut command);
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", server.addr);

    let request = client.post(url("/v1/predict")).header("X-API-Key", &key.text).header("X-Request-Id", ID);
    let answer = request.json(&json!({"text": "have a lovely day"})).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let timing = answer.headers()["server-timing"].to_str().unwrap().to_owned();
    // Before anything else is asked: it is the only request that was measured.
    let metrics = Metrics::at(server.addr).await;
    let record = client.get(url(&format!("/v1/debug/requests?request_id={ID}"))).header("X-API-Key", &key.text);
    let record: Value = record.send().await.unwrap().json().await.unwrap();
    let line = server.until(|line| line["request_id"] == ID);
    let own = |span: &Span| span.kind == SpanKind::Server as i32 && attribute(span, "glassbox.request_id") == ID;
    let spans = collector.until("the trace has come", |spans| spans.iter().any(own)).await;
    let own = spans.iter().find(|span| own(span)).unwrap();

    let (header, record) = (in_header(&timing), &record["slowest"][0]);
    assert_eq!(header.stages.keys().collect::<Vec<_>>(), STAGES);
    let told = [in_json("the line", &line), in_json("the record", record), in_spans(own, &spans), in_metrics(&metrics)];
    for view in &told {
        let name = view.name;
        assert_eq!(view.stages.keys().collect::<Vec<_>>(), STAGES, "{name}");
        assert!((view.total - header.total).abs() < 0.002, "{name}: {} of {}", view.total, header.total);
        for (stage, millis) in &view.stages {
            let expected = header.stages[stage];
            assert!((millis - expected).abs() < 0.002, "{name}: {millis} ms of {stage}, and {expected} in the header");
        }
    }
    for View { name, stages, total } in told.iter().chain([&header]) {
        let sum: f64 = stages.values().sum();
        assert!((sum - total).abs() < (0.05 * total).max(0.02), "{name}: stages of {sum} ms in {total} ms");
    }
    // What the three are found by.
    assert_eq!((&line["trace_id"], &line["key_id"]), (&record["trace_id"], &json!(key.id)));
    assert_eq!(line["trace_id"], json!(own.trace_id.iter().map(|byte| format!("{byte:02x}")).collect::<String>()));
}

fn in_header(timing: &str) -> View {
    let entries = timing.split(", ").map(|entry| entry.split_once(";dur=").unwrap());
    let mut stages: BTreeMap<String, f64> =
        entries.map(|(name, millis)| (name.to_owned(), millis.parse().unwrap())).collect();
    let total = stages.remove("total").unwrap();
    View { name: "the header", stages, total }
}

/// As the log line and the record have it.
fn in_json(name: &'static str, document: &Value) -> View {
    let stages = document["stages"].as_object().unwrap_or_else(|| panic!("{name} has no stages: {document}"));
    let stages = stages.iter().map(|(stage, millis)| (stage.clone(), millis.as_f64().unwrap())).collect();
    View { name, stages, total: document["latency_ms"].as_f64().unwrap() }
}

/// What is in no stage has no span: it is what the request's span has beside those of its stages.
fn in_spans(own: &Span, spans: &[Span]) -> View {
    let millis = |span: &Span| (span.end_time_unix_nano - span.start_time_unix_nano) as f64 / 1e6;
    let children = spans.iter().filter(|span| span.parent_span_id == own.span_id && span.name != "batch");
    let mut stages: BTreeMap<String, f64> = children.map(|span| (span.name.clone(), millis(span))).collect();
    let total = millis(own);
    stages.insert("other".to_owned(), total - stages.values().sum::<f64>());
    View { name: "the trace", stages, total }
}

fn in_metrics(metrics: &Metrics) -> View {
    let sum = |name: &str, label: &str| metrics.sum(&format!("{name}_sum"), &[label]) * 1e3;
    let stage = |stage: &&str| {
        let label = format!("stage=\"{stage}\"");
        assert_eq!(metrics.sum("request_stage_seconds_count", &[&label]), 1.0, "{stage}");
        ((*stage).to_owned(), sum("request_stage_seconds", &label))
    };
    let total = sum("http_request_latency_seconds", "route=\"/v1/predict\"");
    View { name: "the metrics", stages: STAGES.iter().map(stage).collect(), total }
}
