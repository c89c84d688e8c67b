//! Writes finished requests as OpenTelemetry spans and sends them. The only file that names `opentelemetry`.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Link, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};

use super::{
    labels::{self, Label, Stage},
    recorder::Seen,
    traces::{Finished, Run, span_id},
};
use crate::config::{OtlpProtocol, TelemetryConfig};

/// How long the collector may take for one message.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends spans to one collector.
#[derive(Debug)]
pub(super) struct Exporter(SpanExporter);

/// One for the configured collector; none where there is none.
pub(super) fn exporter(config: &TelemetryConfig) -> anyhow::Result<Option<Exporter>> {
    let endpoint = config.otlp_endpoint.trim_end_matches('/');
    if endpoint.is_empty() {
        return Ok(None);
    }
    let exporter = match config.otlp_protocol {
        OtlpProtocol::Grpc => {
            SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(PATIENCE).build()
        }
        OtlpProtocol::Http => {
            let path = if endpoint.ends_with("/v1/traces") { "" } else { "/v1/traces" };
            let http = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
            http.with_endpoint(format!("{endpoint}{path}")).with_timeout(PATIENCE).build()
        }
    };
    let mut exporter = exporter.context("telemetry.otlp_endpoint cannot be used")?;
    let resource = Resource::builder_empty().with_attributes([
        KeyValue::new("service.name", env!("CARGO_PKG_NAME")),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ]);
    exporter.set_resource(&resource.build());
    Ok(Some(Exporter(exporter)))
}

impl Exporter {
    /// Sends the spans of `requests`; says why that did not work.
    pub(super) async fn export(&self, requests: &[Finished]) -> Result<(), String> {
        let spans = requests.iter().flat_map(spans).collect();
        match tokio::time::timeout(PATIENCE, self.0.export(spans)).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_elapsed) => Err(format!("no answer within {PATIENCE:?}")),
        }
    }
}

/// The request's span, and one for each of its stages.
fn spans(finished: &Finished) -> Vec<SpanData> {
    let (seen, timings) = (&finished.seen, &finished.seen.facts.timings);
    let started = seen.time.checked_sub(timings.total()).unwrap_or(seen.time);
    let own = SpanData {
        parent_span_id: SpanId::from(finished.span.parent.unwrap_or_default()),
        parent_span_is_remote: finished.span.parent.is_some(),
        span_kind: if is_entry(seen) { SpanKind::Consumer } else { SpanKind::Server },
        attributes: attributes(finished),
        status: match seen.error_code {
            // By the conventions, a server's span is no error for what its caller did wrong.
            Some(code) if seen.status >= 500 => Status::error(code),
            _ => Status::Unset,
        },
        ..span(finished, finished.span.id, format!("{} {}", seen.method, seen.route), started, timings.total())
    };
    let runs = &seen.facts.runs;
    let stages = timings.stages_begun().map(|(stage, after, time)| SpanData {
        parent_span_id: SpanId::from(finished.span.id),
        links: links(
            runs.iter()
                .filter(|_| stage == Stage::Inference)
                .filter_map(|run| Some((run.spans.first()?.trace, run.id))),
        ),
        ..span(finished, span_id(), stage.as_str().to_owned(), started + after, time)
    });
    // Told once, by the first of its requests.
    let own_runs = runs.iter().filter(|run| run.spans.first() == Some(&finished.span));
    std::iter::once(own).chain(stages).chain(own_runs.map(|run| run_span(finished, run))).collect()
}

/// The span of a run that several requests may have shared, with links to those of them that are traced.
fn run_span(finished: &Finished, run: &Run) -> SpanData {
    let number = |name: &'static str, value: usize| KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX));
    let started = run.ended.checked_sub(run.time).unwrap_or(run.ended);
    SpanData {
        parent_span_id: SpanId::from(finished.span.id),
        attributes: vec![
            number("glassbox.batch.rows", run.rows),
            number("glassbox.batch.requests", run.requests),
            KeyValue::new("glassbox.batch.reason", run.reason.as_str()),
        ],
        links: links(run.spans.iter().map(|span| (span.trace, span.id))),
        ..span(finished, run.id, "batch".to_owned(), started, run.time)
    }
}

fn links(spans: impl Iterator<Item = (u128, u64)>) -> SpanLinks {
    let mut links = SpanLinks::default();
    links.links = spans.map(|(trace, id)| Link::with_context(context(trace, id))).collect();
    links
}

fn context(trace: u128, id: u64) -> SpanContext {
    SpanContext::new(TraceId::from(trace), SpanId::from(id), TraceFlags::SAMPLED, false, TraceState::NONE)
}

fn span(finished: &Finished, id: u64, name: String, started: SystemTime, time: Duration) -> SpanData {
    SpanData {
        span_context: context(finished.span.trace, id),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: started,
        end_time: started + time,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder(env!("CARGO_PKG_NAME")).build(),
    }
}

/// Whether this is a worker's part of a request, which came out of the queue and not over HTTP.
const fn is_entry(seen: &Seen) -> bool {
    seen.status == 0
}

/// By the semantic conventions for HTTP, and for what is called over it; what they have no word for begins with `glassbox.`.
fn attributes(finished: &Finished) -> Vec<KeyValue> {
    let (seen, facts) = (&finished.seen, &finished.seen.facts);
    let number = |name: &'static str, value: Option<u64>| {
        value.map(|value| KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX)))
    };
    let text = |name: &'static str, value: Option<&str>| value.map(|value| KeyValue::new(name, value.to_owned()));
    let served = facts.model.as_deref();
    let is_grpc = facts.protocol == Some(labels::Protocol::Grpc);
    let own = [
        text("glassbox.model", served.map(|served| &*served.model)),
        text("glassbox.model_version", served.map(|served| &*served.version)),
        text("glassbox.provider", facts.provider),
        text("glassbox.cache", facts.cache),
        number("glassbox.batch_size", facts.batch_size.map(|size| size as u64)),
    ];
    if is_entry(seen) {
        let queue = [text("messaging.system", Some("redis")), text("messaging.operation.name", Some(seen.method))];
        return own.into_iter().chain(queue).flatten().collect();
    }
    [
        text("rpc.system.name", is_grpc.then_some("grpc")),
        text("rpc.method", is_grpc.then(|| seen.route.trim_start_matches('/'))),
        text("http.request.method", Some(seen.method)),
        text("http.route", Some(&seen.route)),
        number("http.response.status_code", Some(seen.status.into())),
        number("http.request.body.size", facts.request_bytes.map(|bytes| bytes as u64)),
        number("http.response.body.size", seen.response_bytes),
        text("client.address", facts.client.map(|address| address.to_string()).as_deref()),
        text("error.type", seen.error_code),
        text("glassbox.request_id", Some(&seen.request_id)),
        text("glassbox.key_id", facts.key_id.as_deref()),
    ]
    .into_iter()
    .chain(own)
    .flatten()
    .collect()
}
