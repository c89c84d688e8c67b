//! Traces as a collector gets them, and what a request pays for a collector that does not answer: nothing.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Caller, Collector, Metrics, Proxy, Server, TestApp, Weather, attribute, eventually, free, glassbox, variable,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

async fn traced(url: &str, protocol: glassbox::config::OtlpProtocol, ratio: f64) -> TestApp {
    TestApp::with(|config| {
        config.telemetry.otlp_endpoint = url.to_owned();
        config.telemetry.otlp_protocol = protocol;
        config.telemetry.sample_ratio = ratio;
    })
    .await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A request's own span.
fn is_server(span: &Span) -> bool {
    span.kind == SpanKind::Server as i32
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_with_one_for_each_stage_over_both_protocols() {
    use glassbox::config::OtlpProtocol::{Grpc, Http};
    for (collector, protocol) in [(Collector::grpc().await, Grpc), (Collector::http().await, Http)] {
        let app = traced(&collector.url(), protocol, 0.0).await;
        let request = app.request(Method::POST, "/v1/predict").header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
        let answer =
            request.header("X-Request-Id", "trace-me").json(&json!({"text": "a secret"})).send().await.unwrap();
        let timing = answer.headers()["server-timing"].to_str().unwrap().to_owned();
        // Callers who are in no trace, or in one that is not recorded: the share is 0.
        app.predict(json!({"text": "untraced"})).await;
        let request = app.request(Method::POST, "/v1/predict").header("traceparent", format!("00-{TRACE}-{CALLER}-00"));
        request.json(&json!({"text": "untraced"})).send().await.unwrap();

        let spans = collector.until("the trace has come", |spans| spans.iter().any(is_server)).await;
        assert_eq!(spans.iter().filter(|span| is_server(span)).count(), 1);
        assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE));
        let own = spans.iter().find(|span| is_server(span)).unwrap();
        assert_eq!((&*own.name, &*hex(&own.parent_span_id)), ("POST /v1/predict", CALLER));
        for (name, expected) in [
            ("http.request.method", "POST"),
            ("http.route", "/v1/predict"),
            ("http.response.status_code", "200"),
            ("client.address", "127.0.0.1"),
            ("glassbox.request_id", "trace-me"),
            ("glassbox.model", "toxicity"),
            ("glassbox.model_version", "1"),
            ("glassbox.cache", "miss"),
            ("glassbox.batch_size", "1"),
        ] {
            assert_eq!(attribute(own, name), expected, "{name}");
        }
        assert!(!format!("{spans:?}").contains("a secret"));
        assert!(collector.resource().contains(&("service.name".to_owned(), "glassbox".to_owned())));

        // The header, the spans and the record are views of one measurement.
        let (_, found) = app.get("/v1/debug/requests?request_id=trace-me").await;
        let record = &found["slowest"][0];
        assert_eq!(record["trace_id"], json!(TRACE));
        let told = timing.split(", ").filter_map(|entry| entry.split_once(";dur="));
        for (stage, millis) in told.filter(|(stage, _)| !["total", "other"].contains(stage)) {
            let span = spans.iter().find(|span| span.name == stage).unwrap_or_else(|| panic!("{stage} has no span"));
            assert_eq!(span.parent_span_id, own.span_id, "{stage}");
            assert!(
                span.start_time_unix_nano + 5_000_000 >= own.start_time_unix_nano,
                "{stage} begins before its request"
            );
            assert!(span.end_time_unix_nano <= own.end_time_unix_nano + 5_000_000, "{stage} ends after its request");
            let took = (span.end_time_unix_nano - span.start_time_unix_nano) as f64 / 1e6;
            assert!(
                (took - millis.parse::<f64>().unwrap()).abs() < 0.002,
                "{stage}: {took} ms, and {millis} in {timing}"
            );
            assert_eq!(record["stages"][stage], json!(millis.parse::<f64>().unwrap()), "{stage}");
        }
        let exported = async || Metrics::of(&app).await.sum("traced_requests_total", &["result=\"exported\""]);
        eventually("it is counted", async || exported().await == 1.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_server_are_errors_and_those_of_callers_are_not() {
    let collector = Collector::grpc().await;
    let app = traced(&collector.url(), glassbox::config::OtlpProtocol::Grpc, 1.0).await;
    app.post("/v1/predict", json!({"text": ""})).await;
    let deadline = app.request(Method::POST, "/v1/predict").header("X-Request-Timeout", "1ns");
    deadline.json(&json!({"text": "late"})).send().await.unwrap();
    let spans =
        collector.until("both have come", |spans| spans.iter().filter(|span| is_server(span)).count() == 2).await;
    for (status, error, code) in
        [("422", "invalid_input", StatusCode::Unset), ("504", "deadline_exceeded", StatusCode::Error)]
    {
        let span = spans.iter().find(|span| attribute(span, "http.response.status_code") == status).unwrap();
        assert_eq!(attribute(span, "error.type"), error);
        assert_eq!(span.status.clone().unwrap_or_default().code, code as i32, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_or_frozen_costs_no_request_anything_and_is_counted() {
    // Nobody listens there; and one who takes connections and never answers.
    let [nobody] = free();
    let frozen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (addr, result) in [(nobody, "result=\"failed\""), (frozen.local_addr().unwrap(), "result=\"dropped\"")] {
        let app = traced(&format!("http://{addr}"), glassbox::config::OtlpProtocol::Grpc, 1.0).await;
        let metrics = async |result: &str| Metrics::of(&app).await.sum("traced_requests_total", &[result]);
        eventually("it is counted", async || {
            for n in 0..500 {
                let (status, answer): (_, Value) =
                    app.post("/v1/predict", json!({"model": "stub", "text": n.to_string()})).await;
                assert_eq!(status, 200, "{answer}");
            }
            metrics(result).await > 0.0
        })
        .await;
        let stopping = Instant::now();
        app.stopped().await.unwrap();
        assert!(stopping.elapsed() < Duration::from_secs(60), "the last traces held up the end");
    }
}

/// Requests for predictions, one connection's after another's, many on their way at the same time.
fn flood(addr: SocketAddr, count: usize) {
    const PIPELINED: usize = 50;
    let body = r#"{"model":"stub","text":"have a lovely day"}"#;
    // As long as an id may be: what is kept of a request would be seen.
    let head = format!("POST /v1/predict HTTP/1.1\r\nHost: test\r\nX-Request-Id: {}\r\n", "x".repeat(128));
    let request = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let some = request.repeat(PIPELINED);
    let send = || {
        let mut caller = Caller::connect(addr);
        for _ in 0..count / PIPELINED / 2 {
            caller.send(&some);
            (0..PIPELINED).for_each(|_| assert_eq!(caller.answer().status, 200));
        }
    };
    std::thread::scope(|scope| [scope.spawn(send), scope.spawn(send)].map(|sending| sending.join().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_for_a_collector_that_is_frozen_or_slow_leave_memory_as_it_was() {
    const MIB: u64 = 1024 * 1024;
    const WARM: usize = 5_000;
    let collector = Collector::http().await;
    for (weather, count) in [(Weather::Frozen, 50_000), (Weather::Delay(Duration::from_secs(2)), 20_000)] {
        let proxy = Proxy::to(collector.addr);
        proxy.set(weather);
        let mut command = glassbox(&["serve", "--config", "config/development.toml", "--listen", "127.0.0.1:0"]);
        for (key, value) in [
            ("telemetry.otlp_endpoint", &*format!("http://{}", proxy.addr)),
            ("telemetry.otlp_protocol", "http"),
            ("telemetry.sample_ratio", "1"),
            ("telemetry.log_format", "json"),
            ("telemetry.log_filter", "info,glassbox::api::access_log=warn"),
        ] {
            command.env(variable(key), value);
        }
        let server = Server::start(&mut command);
        // More than may wait for the collector.
        flood(server.addr, WARM);
        let warm = server.resident();
        flood(server.addr, count);
        let grown = server.resident().saturating_sub(warm);
        let metrics = Metrics::at(server.addr).await;
        let told = metrics.sum("traced_requests_total", &[]);
        println!("{weather:?}: {} KiB more, {told} are done with", grown / 1024);
        assert!(grown < 16 * MIB, "{weather:?}: {grown} bytes more");
        assert!(metrics.sum("traced_requests_total", &["result=\"dropped\""]) > 0.0, "{weather:?}");
        // The queue, and two messages: one that is sent, and one that is gathered.
        let waiting = (WARM + count) as f64 - told;
        assert!(waiting <= 2048.0 + 2.0 * 128.0, "{weather:?}: {waiting} wait");
    }
}
