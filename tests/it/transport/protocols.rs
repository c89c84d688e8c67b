//! Both protocols on one port, with the same answers.

use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Version};
use rustls::SupportedProtocolVersion;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    certificates::{Pair, trust},
    client::{Answer, Client, absolute, patiently},
    serve,
};
use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn one_port_speaks_both_protocols_and_keeps_the_connection() {
    let server = Server::start(&mut serve(&[]));
    let mut one = Client::http1(server.addr).await;
    let mut two = Client::http2(server.addr).await;
    for n in 0..20 {
        for (client, version) in [(&mut one, Version::HTTP_11), (&mut two, Version::HTTP_2)] {
            let answer = client.post("/v1/predict", &json!({"input": [n]})).await;
            assert_eq!((answer.status.as_u16(), answer.version), (200, version));
            assert_eq!(answer.json()["prediction"], json!([f64::from(n * 2)]));
        }
    }
}

static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
static TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_caller_chooses_the_protocol() {
    let pair = Pair::new();
    let server = Server::start(&mut serve(&pair.settings()));
    for (protocols, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["h2"], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        for versions in [TLS13, TLS12] {
            let mut trust = trust(&[&pair]);
            (trust.protocols, trust.versions) = (protocols, versions);
            let mut client = Client::https(server.addr, &trust).await.unwrap();
            for n in 0..3 {
                let answer = client.post("/v1/predict", &json!({"input": [n]})).await;
                assert_eq!((answer.status.as_u16(), answer.version), (200, version), "{protocols:?}");
                assert_eq!(answer.json()["prediction"], json!([f64::from(n * 2)]));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_share_one_http2_connection() {
    let server = Server::start(&mut serve(&[("server.max_streams", "16")]));
    let mut client = Client::http2(server.addr).await;
    // Behind the first answer the caller knows how many the server takes at the same time.
    assert_eq!(client.get("/healthz").await.status, 200);
    let mut requests = JoinSet::new();
    for n in 0..500 {
        let mut sender = client.another();
        requests.spawn(async move {
            let body = Full::from(json!({"input": [n]}).to_string());
            let request = Request::post("/v1/predict").header("content-type", "application/json").body(body).unwrap();
            let response = patiently(sender.send_request(absolute(request))).await.unwrap();
            assert_eq!(response.status(), 200);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["prediction"], json!([f64::from(n * 2)]));
        });
    }
    while let Some(done) = requests.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_and_a_large_answer_pass_through_http2() {
    let server = Server::start(&mut serve(&[]));
    let mut client = Client::http2(server.addr).await;
    // Many times the windows of both sides.
    let answer = client.post("/v1/predict", &json!({"input": vec![1; 1_000_000]})).await;
    assert_eq!(answer.json()["prediction"].as_array().map(Vec::len), Some(1_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_failures_look_alike_in_both_protocols() {
    let server = Server::start(&mut serve(&[("server.body_limit", "64KiB")]));
    let json = ("content-type", "application/json");
    let large = format!(r#"{{"input":[1]{}}}"#, " ".repeat(70_000));
    let cases = [
        (Method::GET, "/nowhere", vec![], "", 404, "not_found"),
        (Method::DELETE, "/v1/predict", vec![], "", 405, "method_not_allowed"),
        (Method::POST, "/v1/predict", vec![], "{}", 415, "unsupported_media_type"),
        (Method::POST, "/v1/predict", vec![json], "{", 400, "malformed_request"),
        (Method::POST, "/v1/predict", vec![json], r#"{"input":["a"]}"#, 422, "invalid_input"),
        (Method::POST, "/v1/predict", vec![json], &large, 413, "payload_too_large"),
    ];
    for (method, path, mut headers, body, status, code) in cases {
        headers.push(("x-request-id", "the-callers-own"));
        let mut seen = Vec::new();
        for mut client in [Client::http1(server.addr).await, Client::http2(server.addr).await] {
            let answer = client.send(method.clone(), path, &headers, body).await;
            assert_eq!(answer.status.as_u16(), status, "{method} {path}");
            assert_eq!(answer.header("x-request-id"), Some("the-callers-own"));
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert_eq!(
                (&answer.json()["code"], &answer.json()["request_id"]),
                (&json!(code), &json!("the-callers-own"))
            );
            // In HTTP/2 there is no such header.
            let closes = answer.header("connection") == Some("close");
            assert_eq!(closes, answer.version == Version::HTTP_11 && status == 413, "{:?} {path}", answer.version);
            seen.push(told(&answer));
        }
        assert_eq!(seen[0], seen[1], "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_and_no_body_reaches_the_log_at_its_most_talkative() {
    let pair = Pair::new();
    for tls in [false, true] {
        let settings = if tls { pair.settings() } else { Vec::new() };
        let mut server = Server::start(&mut serve(&[&settings[..], &[("telemetry.log_filter", "trace")]].concat()));
        let mut clients = Vec::new();
        if tls {
            clients.push(Client::https(server.addr, &trust(&[&pair])).await.unwrap());
        } else {
            clients.push(Client::http1(server.addr).await);
            clients.push(Client::http2(server.addr).await);
        }
        for client in &mut clients {
            let headers = [
                ("content-type", "application/json"),
                ("authorization", "Bearer gb_1_hunter2hunter2"),
                ("x-api-key", "gb_1_hunter2hunter2"),
                ("cookie", "session=hunter2hunter2"),
            ];
            let answer = client.send(Method::POST, "/v1/predict", &headers, r#"{"input":["hunter2hunter2"]}"#).await;
            assert_eq!(answer.status.as_u16(), 422);
        }
        drop(clients);
        server.signal("TERM");
        server.until(|line| line["message"] == "stopped");
        let talk = server.log.iter().filter(|line| line["level"] == "TRACE").count();
        assert!(talk > 0, "the log is not at its most talkative");
        assert!(!server.log.iter().any(|line| line.to_string().contains("hunter2")), "a secret is in the log");
    }
}

/// An answer but for what only one of the protocols has.
fn told(answer: &Answer) -> (serde_json::Value, Vec<String>) {
    let names = answer.headers.keys().map(ToString::to_string).filter(|name| name != "connection");
    let mut names: Vec<_> = names.collect();
    names.sort();
    (answer.json(), names)
}
