//! Who calls, under which name, and what is refused.

use std::io::{Read, Write};

use hyper::{Method, Version};
use serde_json::json;

use super::Front;
use crate::{
    grpc::call::Caller as GrpcCaller,
    transport::client::{Client, handshake},
};

const ALICE: [u8; 4] = [127, 0, 0, 2];
const BOB: [u8; 4] = [127, 0, 0, 3];

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_name_and_its_callers_own_address_in_every_log() {
    let front = Front::new();
    let mut server = front.start(0, &[]);
    let mut alice = front.caller(ALICE).await;
    let body = json!({"input": [21]}).to_string();
    let lies = [("content-type", "application/json"), ("x-forwarded-for", "198.51.100.7, 127.0.0.1")];
    for own in [None, Some("order-4711")] {
        let headers: Vec<_> = lies.into_iter().chain(own.map(|id| ("x-request-id", id))).collect();
        let answer = alice.send(Method::POST, "/v1/predict", &headers, &body).await;
        assert_eq!((answer.status.as_u16(), answer.version), (200, Version::HTTP_2));
        assert_eq!(answer.json()["prediction"], json!([42.0]));
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(answer.json()["id"], id);
        assert_eq!(own.unwrap_or(id), id);
        let line = server.until(|line| line["request_id"] == id);
        assert_eq!((&line["client"], &line["status_code"]), (&json!("127.0.0.2"), &json!(200)));
        let line = front.nginx.line(id);
        assert_eq!((&line["client"], &line["status"]), (&json!("127.0.0.2"), &json!(200)));
        assert_eq!(line["tls"], "TLSv1.3");
    }
    // Without HTTP/2, too.
    let mut trust = front.trust();
    trust.protocols = &["http/1.1"];
    let mut old = Client::https_from(BOB, front.nginx.addr, &trust).await;
    let answer = old.post("/v1/predict", &json!({"input": [1]})).await;
    assert_eq!((answer.status.as_u16(), answer.version), (200, Version::HTTP_11));
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    assert_eq!(front.nginx.line(answer.header("x-request-id").unwrap())["client"], "127.0.0.3");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_caller_behind_the_proxy_has_a_quota_of_his_own() {
    let front = Front::new();
    let limits = [("rate_limit.enabled", "true"), ("rate_limit.address_rate", "1"), ("rate_limit.address_burst", "5")];
    let _server = front.start(0, &limits);
    let (mut alice, mut bob) = (front.caller(ALICE).await, front.caller(BOB).await);
    let mut refused = 0;
    for _ in 0..30 {
        let answer = alice.post("/v1/predict", &json!({"input": [1]})).await;
        refused += usize::from(answer.status == 429 && answer.header("retry-after").is_some());
    }
    assert!(refused >= 15, "only {refused} of 30 were refused");
    assert_eq!(bob.post("/v1/predict", &json!({"input": [1]})).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_comes_through_with_the_callers_address() {
    let front = Front::new();
    let mut server = front.start(1, &[]);
    let stream = handshake(front.nginx.addr, &front.trust()).await.unwrap();
    let mut caller = GrpcCaller::over(stream).await;
    for (method, message) in [
        ("/inference.GRPCInferenceService/ServerLive", &b""[..]),
        ("/inference.GRPCInferenceService/ModelReady", b"\x0a\x07doubler"),
        ("/grpc.health.v1.Health/Check", b""),
    ] {
        let answer = caller.send(method, &[], crate::grpc::call::frame(message)).await;
        assert_eq!((answer.status(), &answer.body[..]), (0, &[0, 0, 0, 0, 2, 8, 1][..]), "{method}");
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(front.nginx.line(&id)["client"], "127.0.0.1");
        if method.ends_with("ModelReady") {
            assert_eq!(server.until(|line| line["request_id"] == *id)["client"], "127.0.0.1");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_not_for_callers_is_refused_in_the_servers_own_form() {
    let front = Front::new();
    let _server = front.start(0, &[]);
    let mut caller = front.caller(ALICE).await;
    let json = [("content-type", "application/json")];
    // The largest that the server reads is let through, and one byte more is not.
    let limit = 8 * 1024 * 1024;
    for (length, status, code) in [(limit, 422, "invalid_input"), (limit + 1, 413, "payload_too_large")] {
        let body = format!("{{\"input\":[\"{}\"]}}", "a".repeat(length - 14));
        assert_eq!(body.len(), length);
        let answer = caller.send(Method::POST, "/v1/predict", &json, &body).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (status, &json!(code)), "{length}");
        caller = front.caller(ALICE).await;
    }
    // What nginx answers itself is named as well, as the caller wants where he does.
    for (own, path, status) in [("mine", "/metrics", 404), ("not \"mine\"", "/metrics", 404)] {
        let answer = caller.send(Method::GET, path, &[("x-request-id", own)], "").await;
        let (document, id) = (answer.json(), answer.header("x-request-id").unwrap());
        assert_eq!((answer.status.as_u16(), &document["status"]), (status, &json!(status)));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!((&document["request_id"], own == id), (&json!(id), own == "mine"), "{document}");
        assert_eq!(document["type"], "urn:glassbox:problem:not_found");
        assert_eq!(front.nginx.line(id)["status"], status);
    }
    let long = "a".repeat(20_000);
    let mut old = front.trust();
    old.protocols = &["http/1.1"];
    let mut old = Client::https_from(ALICE, front.nginx.addr, &old).await;
    let answer = old.send(Method::GET, "/v1/models", &[("host", "test"), ("x-long", &long)], "").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!("malformed_request")));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_the_answer_says_so_and_when_to_come_again() {
    let front = Front::new();
    let mut caller = front.caller(ALICE).await;
    let answer = caller.post("/v1/predict", &json!({"input": [1]})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!("dependency_unavailable")));
    assert_eq!(answer.header("retry-after"), Some("1"));
    // And without TLS there is nothing to be had.
    let mut plain = std::net::TcpStream::connect(front.nginx.plain).unwrap();
    plain
        .write_all(b"POST /v1/predict HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("https only\n"), "{answer}");
}
