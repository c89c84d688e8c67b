//! Where calls are taken, in the clear and over TLS, and how they end when the server does.

use std::{net::SocketAddr, process::Command};

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use super::{
    call::{Caller, INFER, frame},
    messages::{ModelInferResponse, same},
};
use crate::{
    support::{Collector, Server, TestApp, attribute, glassbox, python, run, serve_files, variable},
    transport::certificates::Pair,
    v2::models,
};

fn serve(settings: &[(&str, &str)]) -> Command {
    let files: Vec<_> = models().iter().map(|path| path.display().to_string()).collect();
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
    command.env(variable("models.files"), files.join(",")).env(variable("models.repository"), "");
    command.env(variable("telemetry.log_format"), "json").env(variable("rate_limit.enabled"), "false");
    command.envs(settings.iter().map(|(key, value)| (variable(key), value)));
    command
}

fn grpc_addr(server: &Server) -> SocketAddr {
    let line = server.log.iter().find(|line| line["message"] == "listening").unwrap();
    line["grpc_addr"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_stop_under_load_fails_no_call_and_watchers_are_told_first() {
    for listen in ["", "127.0.0.1:0"] {
        let settings = [("drain.delay", "1s"), ("drain.timeout", "10s"), ("server.grpc_listen", listen)];
        let mut server = Server::start(&mut serve(&settings));
        let addr = if listen.is_empty() { server.addr } else { grpc_addr(&server) };
        let output = python("python/grpc_drain.py", &[&addr.to_string(), &server.pid().to_string()], "");
        assert_eq!(output.lines().collect::<Vec<_>>(), ["watcher", "callers"]);
        assert_eq!(server.ended().code(), Some(0));
    }
}

#[test]
fn over_tls_the_same_clients_are_served() {
    let pair = Pair::new();
    let settings = [&pair.settings()[..], &[("server.grpc_listen", "127.0.0.1:0")]].concat();
    let server = Server::start(&mut serve(&settings));
    for addr in [server.addr, grpc_addr(&server)] {
        // The certificate's name.
        let address = format!("localhost:{}", addr.port());
        let output = python("python/grpc_tls.py", &[&address, pair.cert().to_str().unwrap()], "");
        assert_eq!(output, "served\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_of_its_own_answers_calls_and_nothing_else() {
    let server = Server::start(&mut serve(&[("server.grpc_listen", "127.0.0.1:0")]));
    for addr in [server.addr, grpc_addr(&server)] {
        let mut caller = Caller::connect(addr).await;
        let answer: ModelInferResponse = caller.call(INFER, &[], &same(&[5])).await.message();
        assert_eq!(answer.numbers(), [5]);
    }
    let other = reqwest::get(format!("http://{}/healthz", grpc_addr(&server))).await.unwrap();
    assert_eq!(other.status(), 404);
}

#[test]
fn a_listener_of_its_own_asks_for_keys_before_others_can_reach_it() {
    let finished = run(&mut serve(&[("server.grpc_listen", "0.0.0.0:0")]));
    assert_eq!(finished.code, Some(64), "{}", finished.stderr);
    assert!(finished.stderr.contains("server.grpc_listen: is not a loopback address"), "{}", finished.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_megabyte_comes_whole_with_its_status_behind_it() {
    let app = TestApp::with(|config| serve_files(config, models())).await;
    let mut caller = Caller::connect(app.addr).await;
    let numbers: Vec<i64> = (0..131_072).collect();
    for headers in [&[][..], &[("accept-encoding", "gzip"), ("grpc-accept-encoding", "gzip")]] {
        let answer = caller.call(INFER, headers, &same(&numbers)).await;
        assert_eq!((answer.status(), answer.trailers.len()), (0, 1), "{:?}", answer.trailers);
        assert!(answer.header("content-encoding").is_none());
        let message: ModelInferResponse = answer.message();
        assert_eq!(message.numbers(), numbers);
    }
    let (status, stats) = app.get("/v1/stats").await;
    assert_eq!((status.as_u16(), &stats["total_requests"]), (200, &json!(2)), "one predictor answers all protocols");
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_is_answered_in_both_versions() {
    let app = TestApp::with(|config| serve_files(config, models())).await;
    let mut caller = Caller::connect(app.addr).await;
    for version in ["v1", "v1alpha"] {
        let method = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        // Asks for the names of all services: field 7, an empty text.
        let answer = caller.send(&method, &[], frame(&[0x3a, 0])).await;
        assert_eq!(answer.status(), 0, "{version}: {answer:?}");
        let text = String::from_utf8_lossy(&answer.body);
        for service in ["inference.GRPCInferenceService", "grpc.health.v1.Health", "ServerReflection"] {
            assert!(text.contains(service), "{version}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_can_be_followed_through_metric_record_and_trace() {
    let collector = Collector::grpc().await;
    let app = TestApp::with(|config| {
        serve_files(config, models());
        config.telemetry.otlp_endpoint = collector.url();
        config.telemetry.sample_ratio = 1.0;
    })
    .await;
    let mut caller = Caller::connect(app.addr).await;
    let answer = caller.call(INFER, &[("x-request-id", "follow-me")], &same(&[3])).await;
    assert_eq!((answer.status(), answer.header("x-request-id")), (0, Some("follow-me")));
    let is_call = |span: &&Span| span.attributes.iter().any(|attribute| attribute.key == "rpc.method");
    let spans = collector.until("the trace has come", |spans| spans.iter().any(|span| is_call(&span))).await;
    let own = spans.iter().find(is_call).unwrap();
    for (name, expected) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", INFER.trim_start_matches('/')),
        ("glassbox.request_id", "follow-me"),
        ("glassbox.model", "same_int64"),
    ] {
        assert_eq!(attribute(own, name), expected, "{name}");
    }
    let (_, found) = app.get("/v1/debug/requests?request_id=follow-me").await;
    assert_eq!(found["slowest"][0]["protocol"], "grpc", "{found}");
    assert_eq!(app.series("model_requests_total{model=\"same_int64\",protocol=\"grpc\"}"), Some(1.0));
}
