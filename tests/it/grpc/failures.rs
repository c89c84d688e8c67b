//! Every failure is a status of gRPC, whoever refuses, with our code and the request's id beside it.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use prost::Message;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    call::{Caller, INFER, frame},
    messages::{
        ModelInferRequest, ModelInferResponse, RepositoryIndexRequest, ServerLiveRequest, ServerLiveResponse, same,
    },
};
use crate::{
    support::{KeysFile, Metrics, Server, TestApp, eventually, glassbox, serve_files, until, variable},
    v2::models,
};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn compressed(message: &[u8]) -> Vec<u8> {
    let mut body = frame(&gzip(message));
    body[0] = 1;
    body
}

/// What is sent, and what is said of it: the status of gRPC, our code, the status in the log.
type Case<'a> = (&'static str, &'a str, &'a [(&'static str, &'a str)], Vec<u8>, i32, &'static str, u16);

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_a_status_with_our_code_and_the_request_s_id() {
    let keys = KeysFile::new();
    let key = keys.create(&["--scope", "predict", "--model", "same_*"]).text;
    let files: Vec<_> = models().iter().map(|path| path.display().to_string()).collect();
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0"]);
    command.env(variable("auth.keys_file"), keys.path()).env(variable("models.files"), files.join(","));
    command.env(variable("models.repository"), "").env(variable("server.body_limit"), "64KiB");
    let mut server = Server::start(command.env(variable("telemetry.log_format"), "json"));
    let mut caller = Caller::connect(server.addr).await;

    let good = || frame(&same(&[1]).encode_to_vec());
    let named = |model: &str| frame(&ModelInferRequest { model_name: model.to_owned(), ..same(&[1]) }.encode_to_vec());
    let (unknown, foreign) = (named("same_nowhere"), named("several"));
    let mut misshapen = same(&[1, 2]);
    misshapen.inputs[0].shape = vec![3];
    let index = frame(&RepositoryIndexRequest::default().encode_to_vec());
    let own: &[(&str, &str)] = &[("x-api-key", &key)];
    let with = |name, value| vec![("x-api-key", &*key), (name, value)];
    let cases: Vec<Case<'_>> = vec![
        ("no key", INFER, &[], good(), 16, "unauthenticated", 401),
        ("no key's scope", "/inference.GRPCInferenceService/RepositoryIndex", own, index, 7, "permission_denied", 403),
        ("no model of the key's", INFER, own, foreign, 7, "permission_denied", 403),
        ("no model", INFER, own, unknown, 5, "model_not_found", 404),
        ("no method", "/inference.GRPCInferenceService/ModelStreamInfer", own, good(), 12, "not_found", 404),
        ("no service", "/a.B/C", own, good(), 12, "not_found", 404),
        ("no message", INFER, own, Vec::new(), 3, "malformed_request", 400),
        ("half a prefix", INFER, own, vec![0, 0, 0], 3, "malformed_request", 400),
        ("half a message", INFER, own, good()[..20].to_vec(), 3, "malformed_request", 400),
        ("two messages", INFER, own, [good(), good()].concat(), 3, "malformed_request", 400),
        ("a length of 4 GiB", INFER, own, vec![0, 255, 255, 255, 255], 3, "malformed_request", 400),
        ("no protobuf", INFER, own, frame(&[255; 40]), 3, "malformed_request", 400),
        ("no text", INFER, own, frame(&[0x0a, 1, 0xff]), 3, "malformed_request", 400),
        ("a million inputs", INFER, own, frame(&[0x2a, 0].repeat(30_000)), 3, "malformed_request", 400),
        ("a shape of its own", INFER, own, frame(&misshapen.encode_to_vec()), 3, "invalid_input", 422),
        ("too large", INFER, own, frame(&[0; 70_000]), 8, "payload_too_large", 413),
        (
            "too large, once it is no longer compressed",
            INFER,
            &[],
            compressed(&[0; 1_000_000]),
            8,
            "payload_too_large",
            413,
        ),
        ("compressed, and nobody knows how", INFER, own, compressed(&good()[5..]), 3, "malformed_request", 400),
        (
            "no gzip",
            INFER,
            &[],
            {
                let mut body = good();
                body[0] = 1;
                body
            },
            3,
            "malformed_request",
            400,
        ),
        ("a timeout of words", INFER, &[], good(), 3, "malformed_request", 400),
        ("a nanosecond", INFER, &[], good(), 4, "deadline_exceeded", 504),
        ("an unknown encoding", INFER, &[], good(), 12, "unsupported_media_type", 415),
    ];
    for (number, (what, method, headers, body, status, code, logged)) in cases.into_iter().enumerate() {
        let further = match what {
            "too large, once it is no longer compressed" | "no gzip" => with("grpc-encoding", "gzip"),
            "a timeout of words" => with("grpc-timeout", "soon"),
            "a nanosecond" => with("grpc-timeout", "1n"),
            "an unknown encoding" => with("grpc-encoding", "br"),
            _ => headers.to_vec(),
        };
        let id = format!("failure-{number}");
        let answer = caller.send(method, &[&further[..], &[("x-request-id", &id)]].concat(), body).await;
        assert_eq!((answer.http.as_u16(), answer.status()), (200, status), "{what}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/grpc"), "{what}");
        assert_eq!((answer.header("error-code"), answer.header("x-request-id")), (Some(code), Some(&*id)), "{what}");
        assert!(answer.body.is_empty() && !answer.header("grpc-message").unwrap_or_default().is_empty(), "{what}");
        let line = server.until(|line| line["request_id"] == *id);
        assert_eq!((&line["status_code"], &line["error_code"]), (&json!(logged), &json!(code)), "{what}: {line}");
        assert_eq!(line["protocol"], "grpc", "{line}");
        let route = if code == "not_found" { "other" } else { method };
        assert_eq!(line["route"], route, "{line}");
    }
    // What is counted is what is logged; and the connection goes on.
    let metrics = Metrics::at(server.addr).await;
    let route = format!("route=\"{INFER}\"");
    for (status, least) in [("401", 1.0), ("422", 1.0), ("413", 2.0), ("504", 1.0)] {
        let counted = metrics.sum("http_requests_total", &[&*route, &format!("status=\"{status}\"")]);
        assert_eq!(counted, least, "{status}");
    }
    let answered: ModelInferResponse = caller.call(INFER, own, &same(&[1, 2])).await.message();
    assert_eq!(answered.outputs[0].shape, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_over_the_quota_is_told_when_to_come_again() {
    let keys = KeysFile::new();
    let key = keys.create(&["--scope", "predict"]).text;
    let app = TestApp::with(|config| {
        serve_files(config, models());
        config.auth.keys_file = Some(keys.path().to_owned());
        config.rate_limit.enabled = true;
        (config.rate_limit.rate, config.rate_limit.burst) = (1, 1);
    })
    .await;
    let mut caller = Caller::connect(app.addr).await;
    let headers = [("authorization", &*format!("Bearer {key}"))];
    let first = caller.call(INFER, &headers, &same(&[1])).await;
    assert_eq!(first.status(), 0);
    assert!(first.header("ratelimit").is_some() && first.header("server-timing").is_some(), "{first:?}");
    let second = caller.call(INFER, &headers, &same(&[1])).await;
    assert_eq!((second.status(), second.header("error-code")), (8, Some("rate_limited")), "{second:?}");
    let wait: u64 = second.header("grpc-retry-pushback-ms").unwrap().parse().unwrap();
    assert!((1..=1000).contains(&wait), "{wait} ms");
    assert!(second.header("ratelimit").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_is_unavailable() {
    let app = TestApp::with(|config| {
        serve_files(config, models());
        (config.server.body_limit, config.server.bodies_limit) =
            (bytesize::ByteSize::kib(40), bytesize::ByteSize::kib(192));
    })
    .await;
    let half = || {
        let begun = futures_util::stream::iter([Ok(Frame::data(bytes::Bytes::from(vec![0; 30 * 1024])))]);
        StreamBody::new(futures_util::StreamExt::chain(begun, futures_util::stream::pending())).boxed_unsync()
    };
    let mut holding = tokio::task::JoinSet::new();
    let mut caller = Caller::connect(app.addr).await;
    eventually("the room is full", async || {
        // One that came while the large one below was there has been refused, and comes again.
        while holding.try_join_next().is_some() {}
        while holding.len() < 2 {
            let (mut caller, body) = (Caller::connect(app.addr).await, half());
            holding.spawn(async move { caller.stream(INFER, &[], body).await });
        }
        let large = same(&vec![1; 10_000]);
        let answer = caller.call(INFER, &[], &large).await;
        assert!([0, 14].contains(&answer.status()), "{answer:?}");
        answer.status() == 14 && answer.header("error-code") == Some("overloaded")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_take_no_room_from_those_with_keys() {
    let keys = KeysFile::new();
    let key = keys.create(&["--scope", "predict"]).text;
    let app = TestApp::with(|config| {
        serve_files(config, models());
        config.auth.keys_file = Some(keys.path().to_owned());
        (config.server.body_limit, config.server.bodies_limit) =
            (bytesize::ByteSize::kib(40), bytesize::ByteSize::kib(192));
    })
    .await;
    const LIVE: &str = "/inference.GRPCInferenceService/ServerLive";
    let mut caller = Caller::connect(app.addr).await;
    let large = caller.send(LIVE, &[], frame(&[0; 2000])).await;
    assert_eq!((large.status(), large.header("error-code")), (8, Some("payload_too_large")), "{large:?}");
    // A hundred who never finish a short one.
    let mut holding = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let mut caller = Caller::connect(app.addr).await;
        let begun = futures_util::stream::iter([Ok(Frame::data(bytes::Bytes::from(vec![0; 1000])))]);
        let body = StreamBody::new(futures_util::StreamExt::chain(begun, futures_util::stream::pending()));
        holding.spawn(async move { caller.stream(LIVE, &[], body.boxed_unsync()).await });
    }
    until("all of them are there", || app.series("http_requests_in_flight") == Some(100.0));
    let answer = caller.call(INFER, &[("x-api-key", &key)], &same(&vec![1; 10_000])).await;
    assert_eq!(answer.status(), 0, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_is_told_so_in_the_words_of_http() {
    let app = TestApp::with(|config| serve_files(config, models())).await;
    let (status, problem) = app.post(INFER, json!({})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (415, &json!("unsupported_media_type")));
    let request = app.request(Method::POST, INFER).header("content-type", "application/grpc");
    let (status, problem): (_, Value) = TestApp::json(request.body(frame(&same(&[1]).encode_to_vec()))).await;
    assert_eq!((status.as_u16(), &problem["code"]), (415, &json!("unsupported_media_type")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("HTTP/2"), "{problem}");
    let (status, _) = app.get(INFER).await;
    assert_eq!(status.as_u16(), 405);
    // gRPC-Web is something else.
    let mut caller = Caller::connect(app.addr).await;
    let web = caller.send(INFER, &[("content-type", "application/grpc-web+proto")], frame(&[])).await;
    assert_eq!((web.http.as_u16(), web.header("content-type")), (415, Some("application/problem+json")));
    let live = caller.call("/inference.GRPCInferenceService/ServerLive", &[], &ServerLiveRequest {}).await;
    assert!(live.message::<ServerLiveResponse>().live);
}
