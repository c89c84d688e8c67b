//! The log line of a request: who, what, how long, and nothing that a caller sent.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::Stdio,
    time::Instant,
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Caller, KeysFile, Metrics, PATIENCE, Server, glassbox, python, variable};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn serve(settings: &[(&str, &str)]) -> Server {
    let mut command = glassbox(&["serve", "--config", "config/development.toml", "--listen", "127.0.0.1:0"]);
    command.env(variable("telemetry.log_format"), "json");
    command.envs(settings.iter().map(|(key, value)| (variable(key), value)));
    Server::start(&mut command)
}

fn url(server: &Server, path: &str) -> String {
    format!("http://{}{path}", server.addr)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_can_be_followed_through_header_line_metric_and_trace() {
    let file = KeysFile::new();
    let key = file.create(&[]);
    let mut server = serve(&[("auth.keys_file", file.path().to_str().unwrap())]);
    let client = reqwest::Client::new();
    let before = Metrics::at(server.addr).await;

    let request = client.post(url(&server, "/v1/predict")).header("X-API-Key", &key.text);
    let request =
        request.header("X-Request-Id", "follow-me").header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let answer = request.json(&json!({"text": "have a lovely day"})).send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "follow-me");
    let timing = answer.headers()["server-timing"].to_str().unwrap().to_owned();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["id"], "follow-me");

    let line = server.until(|line| line["request_id"] == "follow-me");
    for (field, expected) in [
        ("trace_id", json!(TRACE)),
        ("key_id", json!(key.id)),
        ("client", json!("127.0.0.1")),
        ("level", json!("INFO")),
        ("message", json!("request")),
        ("method", json!("POST")),
        ("route", json!("/v1/predict")),
        ("status_code", json!(200)),
        ("model", json!("toxicity")),
        ("model_version", json!("1")),
        ("provider", json!("onnxruntime-cpu")),
        ("cache", json!("miss")),
        ("batch_size", json!(1)),
    ] {
        assert_eq!(line[field], expected, "{field} of {line}");
    }
    assert!(line["timestamp"].as_str().unwrap().starts_with("20"), "{line}");
    assert!(line.get("error_code").is_none() && line.get("error").is_none(), "{line}");
    adds_up(&line);
    // The header and the line are views of one measurement.
    let shown: Vec<(&str, f64)> = timing
        .split(", ")
        .map(|entry| entry.split_once(";dur=").map(|(name, time)| (name, time.parse().unwrap())).unwrap())
        .collect();
    assert_eq!(*shown.last().unwrap(), ("total", line["latency_ms"].as_f64().unwrap()), "{timing}");
    for (name, time) in &shown[..shown.len() - 1] {
        assert_eq!(line["stages"][name], json!(time), "{timing} of {line}");
    }
    for stage in ["auth", "decode", "cache", "queue", "preprocess", "inference", "postprocess", "encode"] {
        assert!(line["stages"][stage].is_number(), "{stage} is missing: {line}");
    }

    let after = Metrics::at(server.addr).await;
    let key = format!("key=\"{}\"", key.id);
    for (metric, labels) in [
        ("http_requests_total", &["route=\"/v1/predict\"", "method=\"POST\"", "status=\"200\""][..]),
        ("http_request_latency_seconds_count", &["route=\"/v1/predict\""]),
        ("predictions_total", &["model=\"toxicity\"", "version=\"1\"", "outcome=\"ok\"", "source=\"computed\""]),
        ("inference_latency_seconds_count", &["model=\"toxicity\""]),
        ("inference_batch_size_sum", &["model=\"toxicity\""]),
        ("inference_queue_seconds_count", &["model=\"toxicity\""]),
        ("cache_lookups_total", &["tier=\"memory\"", "result=\"miss\""]),
        ("request_stage_seconds_count", &["stage=\"inference\""]),
        ("api_key_requests_total", &[&*key]),
    ] {
        assert_eq!(after.sum(metric, labels) - before.sum(metric, labels), 1.0, "{metric} {labels:?}");
    }
}

/// The stages are the whole of the time; the numbers are rounded to a thousandth of a millisecond each.
fn adds_up(line: &Value) {
    let stages: f64 = line["stages"].as_object().unwrap().values().map(|time| time.as_f64().unwrap()).sum();
    let total = line["latency_ms"].as_f64().unwrap();
    assert!((stages - total).abs() < 0.02, "{stages} ms in stages of {total} ms: {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_request_and_trace_get_ids_and_bad_ones_are_replaced() {
    let mut server = serve(&[]);
    let client = reqwest::Client::new();
    let long = "x".repeat(129);
    for (header, value, kept) in [
        ("x-request-id", "a-b_c.1", true),
        ("x-request-id", &*long, false),
        ("x-request-id", "with space", false),
        ("traceparent", &format!("00-{TRACE}-00f067aa0ba902b7-00"), true),
        ("traceparent", &format!("01-{TRACE}-00f067aa0ba902b7-00-later"), true),
        ("traceparent", &format!("ff-{TRACE}-00f067aa0ba902b7-00"), false),
        ("traceparent", &format!("00-{TRACE}-00f067aa0ba902b7-00-more"), false),
        ("traceparent", &format!("00-{}-00f067aa0ba902b7-00", TRACE.to_uppercase()), false),
        ("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-00", false),
        ("traceparent", &format!("00-{TRACE}-0000000000000000-00"), false),
        ("traceparent", "nonsense", false),
    ] {
        let answer = client.get(url(&server, "/v1/models")).header(header, value).send().await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let line = server.until(|line| line["request_id"] == *id);
        let trace = line["trace_id"].as_str().unwrap();
        assert!(trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
        let same = if header == "traceparent" { trace == TRACE } else { id == value };
        assert_eq!(same, kept, "{header}: {value} became {line}");
        assert!(header == "traceparent" || kept || id.split('-').nth(2).unwrap().starts_with('7'), "{id} is no UUIDv7");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_name_their_model_and_callers_who_leave_have_a_line() {
    let mut server = serve(&[]);
    let client = reqwest::Client::new();
    let request = client.post(url(&server, "/v1/predict")).header("X-Request-Id", "bad");
    request.json(&json!({"model": "doubler", "input": "secret words"})).send().await.unwrap();
    let line = server.until(|line| line["request_id"] == "bad");
    assert_eq!(
        (&line["model"], &line["error_code"], &line["status_code"]),
        (&json!("doubler"), &json!("invalid_input"), &json!(422))
    );
    assert!(!line.to_string().contains("secret words"), "{line}");
    adds_up(&line);

    let mut leaves = Caller::connect(server.addr);
    leaves.send("POST /v1/predict HTTP/1.1\r\nHost: test\r\nX-Request-Id: left\r\nContent-Type: application/json\r\n");
    leaves.send("Content-Length: 100\r\nExpect: 100-continue\r\n\r\n{\"text\": ");
    drop(leaves);
    let line = server.until(|line| line["request_id"] == "left");
    assert_eq!((&line["status_code"], &line["error_code"]), (&json!(400), &json!("malformed_request")), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_is_json_whatever_callers_send() {
    let mut server = serve(&[("telemetry.log_filter", "debug")]);
    let nasty = "\u{1b}[31m\"quotes\"\r\n{\"level\":\"ERROR\"} \u{2028}\0 \u{feff}";
    let client = reqwest::Client::new();
    let bodies = [
        json!({"text": nasty}),
        json!({"model": nasty, "text": "a"}),
        json!({"version": nasty, "text": "a"}),
        json!({"text": "m".repeat(1 << 20)}),
        json!({"model": "m".repeat(1 << 20), "text": "a"}),
        json!({"model": "multi_io", "input": {nasty: 1}}),
    ];
    for body in &bodies {
        let request = client.post(url(&server, "/v1/predict")).header("User-Agent", "\\u001b[2J\"").json(body);
        assert!(request.send().await.unwrap().status().as_u16() < 500);
    }
    for path in ["/%1b%5b31m%22", "/v1/models/%22%0a%7b%7d", "/v1/models/%ff%fe", "/\"'{}", "/v1/models/a/versions/%00"]
    {
        client.get(url(&server, path)).send().await.unwrap();
    }
    for raw in [
        &b"GET /\xff\xfe HTTP/1.1\r\nHost: test\r\n\r\n"[..],
        b"GET /v1/models HTTP/1.1\r\nHost: test\r\nX-Request-Id: \xff\"\x1b[1m\r\nX-Forwarded-For: \xff\"\r\n\r\n",
        b"QUOTE'S /v1/models HTTP/1.1\r\nHost: test\r\n\r\n",
    ] {
        let mut caller = Caller::connect(server.addr);
        caller.send_bytes(raw);
        caller.finish_sending();
        caller.closed();
    }
    client.get(url(&server, "/")).header("X-Request-Id", "last").send().await.unwrap();
    // The harness reads every line as JSON, and panics at one that is none.
    server.until(|line| line["request_id"] == "last");
    let requests: Vec<_> = server.log.iter().filter(|line| line["message"] == "request").collect();
    assert!(requests.len() > bodies.len() + 5, "{} lines", requests.len());
    for line in requests {
        assert!(line.to_string().len() < 2048 && !line.to_string().contains('\u{1b}'), "{line}");
        assert!(!line.to_string().contains("mmmmmmmmmm") || line["error_code"] == "model_not_found", "{line}");
        adds_up(line);
    }
}

/// Lines wait in a bounded queue; what finds no place is dropped, and that is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_up_nobody_and_its_lost_lines_are_counted() {
    let mut command = glassbox(&["serve", "--config", "config/development.toml", "--listen", "127.0.0.1:0"]);
    command.env(variable("telemetry.log_format"), "json").stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Reads the first lines and then no more; the pipe stays open.
    let mut log = BufReader::new(child.stdout.take().unwrap());
    let addr: SocketAddr = loop {
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        if line["message"] == "listening" {
            break line["addr"].as_str().unwrap().parse().unwrap();
        }
    };
    let deadline = Instant::now() + 5 * PATIENCE;
    let mut caller = Caller::connect(addr);
    let dropped = loop {
        for _ in 0..20 {
            caller.send(&"GET /v1/models/none HTTP/1.1\r\nHost: test\r\n\r\n".repeat(100));
            (0..100).for_each(|_| assert_eq!(caller.answer().status, 404));
        }
        let dropped = Metrics::at(addr).await.sum("log_lines_dropped_total", &[]);
        if dropped > 0.0 || Instant::now() > deadline {
            break dropped;
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    drop(log);
    assert!(dropped > 0.0, "no line was dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_logged_only_when_asked_for() {
    let mut server = serve(&[]);
    let client = reqwest::Client::new();
    for path in ["/healthz", "/readyz", "/metrics", "/v1/models"] {
        client.request(Method::GET, url(&server, path)).send().await.unwrap();
    }
    server.until(|line| line["route"] == "/v1/models");
    let routes: Vec<_> = server.log.iter().filter_map(|line| line["route"].as_str()).collect();
    assert_eq!(routes, ["/v1/models"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_after_the_server_stands_in_no_ones_way_unless_a_look_fails() {
    let mut server = serve(&[]);
    let client = reqwest::Client::new();
    let get = async |path: &str| client.get(url(&server, path)).send().await.unwrap();
    let looks = ["/console", "/console/main.js", "/v1/stats", "/v1/debug/requests"];
    for path in looks.iter().chain(&["/v1/debug/requests?limit=x", "/console/none.js", "/v1/models"]) {
        get(path).await;
    }
    let found: Value = get("/v1/debug/requests").await.json().await.unwrap();
    let routes = |list: &str| {
        let records = found[list].as_array().unwrap().iter();
        records.map(|record| record["route"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(routes("slowest"), ["/v1/models"]);
    assert_eq!(routes("failed"), ["/console/{file}", "/v1/debug/requests"]);
    // Their times are nobody's, and they are counted like all others.
    let metrics = Metrics::at(server.addr).await;
    assert_eq!(metrics.sum("request_stage_seconds_count", &["stage=\"other\""]), 1.0);
    assert_eq!(metrics.sum("http_requests_total", &["route=\"/v1/debug/requests\"", "status=\"200\""]), 2.0);
    server.until(|line| line["route"] == "/v1/models");
    let lines = server.log.iter().filter_map(|line| Some((line["route"].as_str()?, line["status_code"].as_u64()?)));
    let expected = [("/v1/debug/requests", 400), ("/console/{file}", 404), ("/v1/models", 200)];
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_while_a_model_runs_has_a_line_and_a_count_of_its_own() {
    let folder = tempfile::TempDir::new().unwrap();
    let graph = folder.path().join("endless.onnx");
    python("python/loop_graph.py", &[graph.to_str().unwrap(), "endless"], "");
    let mut server =
        serve(&[("models.repository", ""), ("models.default", ""), ("models.files", graph.to_str().unwrap())]);
    let mut caller = Caller::connect(server.addr);
    caller.send("POST /v1/predict HTTP/1.1\r\nHost: test\r\nX-Request-Id: left\r\nContent-Type: application/json\r\n");
    caller.send("Content-Length: 11\r\n\r\n{\"input\":1}");
    // The request, and the one that asks.
    while Metrics::at(server.addr).await.sum("http_requests_in_flight", &[]) < 2.0 {}
    drop(caller);
    let line = server.until(|line| line["request_id"] == "left");
    for (field, expected) in [
        ("status_code", json!(499)),
        ("error_code", json!("caller_left")),
        ("level", json!("INFO")),
        ("model", json!("endless")),
    ] {
        assert_eq!(line[field], expected, "{field} of {line}");
    }
    assert!(line["stages"]["inference"].as_f64().unwrap() > 0.0, "{line}");
    adds_up(&line);
    let after = Metrics::at(server.addr).await;
    assert_eq!(after.sum("http_requests_total", &["route=\"/v1/predict\"", "status=\"499\""]), 1.0);
    assert_eq!(after.sum("predictions_total", &["outcome=\"caller_left\""]), 1.0);
    assert_eq!(after.sum("http_requests_in_flight", &[]), 1.0);
}
