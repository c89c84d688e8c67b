//! The names by which a server on loopback that asks for no key may be called.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet};

use super::{
    certificates::{Pair, trust},
    client::{Client, patiently},
    serve,
};
use crate::support::{Caller, KeysFile, Redis, Server, glassbox, until, variable};

const GOOD: [&str; 9] = [
    "localhost",
    "LOCALHOST:8080",
    "box.localhost:1",
    "127.0.0.1:8080",
    "127.1.2.3",
    "[::1]:8080",
    "box.example.com",
    "Box.Example.Com.:443",
    "10.0.0.7:80",
];
const BAD: [&str; 8] = [
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "0.0.0.0:8080",
    "10.0.0.8",
    "example.com",
    "[::]:8080",
];

/// Calls that a page would like to make.
const CALLS: [(&str, &str); 7] = [
    ("GET", "/v1/models"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/nowhere"),
    ("POST", "/v1/predict"),
    ("POST", "/v2/repository/models/doubler/unload"),
    ("DELETE", "/v1/predictions?since=1970-01-01T00:00:00Z"),
];

#[test]
fn on_loopback_without_keys_only_names_of_this_machine_and_those_of_the_configuration_are_answered() {
    let server = Server::start(&mut serve(&[HOSTS]));
    for host in GOOD {
        assert_eq!(ask(server.addr, "GET", "/v1/models", host).0, 200, "{host}");
    }
    for host in BAD {
        for (method, path) in CALLS {
            let (status, problem) = ask(server.addr, method, path, host);
            assert_eq!((status, &problem["code"]), (421, &json!("misdirected_request")), "{method} {path} by {host}");
            assert!(problem["detail"].as_str().unwrap().contains("server.hosts"), "{problem}");
            assert!(!problem.to_string().contains(host), "a name that a stranger chose is said back: {problem}");
        }
    }
    // The model was not unloaded.
    assert_eq!(Caller::connect(server.addr).post("/v1/predict", &json!({"input": [1]})).status, 200);
    for (head, status) in [
        // To a proxy; what stands in `Host` then counts for nothing, but no browser sends two names.
        ("GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost\r\n", 421),
        ("GET http://localhost/v1/models HTTP/1.1\r\nHost: evil.example\r\n", 421),
        ("GET http://localhost:8080/v1/models HTTP/1.1\r\nHost: localhost\r\n", 200),
        ("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n", 421),
        // Programs may name none. Browsers always do.
        ("GET /v1/models HTTP/1.0\r\nConnection: keep-alive\r\n", 200),
        ("GET /v1/models HTTP/1.1\r\nHost:\r\n", 200),
    ] {
        let mut caller = Caller::connect(server.addr);
        caller.send(&format!("{head}\r\n"));
        assert_eq!(caller.answer().status, status, "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_http2_and_grpc_the_name_of_the_target_counts() {
    let server = Server::start(&mut serve(&[HOSTS, ("server.grpc_listen", "127.0.0.1:0")]));
    let grpc = addr(&server, "grpc_addr");
    for (host, answered) in GOOD.map(|host| (host, true)).into_iter().chain(BAD.map(|host| (host, false))) {
        let listed = call(server.addr, host, "/v1/models", None).await;
        assert_eq!(listed.status, if answered { 200 } else { 421 }, "{host}");
        for addr in [server.addr, grpc] {
            let told = call(addr, host, "/grpc.health.v1.Health/Check", Some("application/grpc")).await;
            assert_eq!(told.status, 200, "gRPC tells failures otherwise");
            // FAILED_PRECONDITION; an answer with a message has its status behind it.
            let expected = if answered { (None, None) } else { (Some("9"), Some("misdirected_request")) };
            assert_eq!((told.header("grpc-status"), told.header("error-code")), expected, "{host}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_pages_of_allowed_origins_make_no_difference() {
    let pair = Pair::new();
    let settings = [&pair.settings()[..], &[("server.cors_origins", "*"), ("server.hosts", "")]].concat();
    let server = Server::start(&mut serve(&settings));
    let mut trust = trust(&[&pair]);
    for protocols in [&["h2"][..], &["http/1.1"]] {
        trust.protocols = protocols;
        let mut client = Client::https(server.addr, &trust).await.unwrap();
        // This client calls the server `test`.
        assert_eq!(client.get("/v1/models").await.status, 421);
        let asks = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
        let preflight = client.send(Method::OPTIONS, "/v1/predict", &asks, "").await;
        assert_eq!((preflight.status.as_u16(), preflight.header("access-control-allow-origin")), (421, None));
    }
}

#[test]
fn listeners_that_ask_for_keys_or_are_not_on_loopback_answer_by_every_name() {
    let file = KeysFile::new();
    let key = file.create(&[]);
    let path = file.path().display().to_string();
    let server = Server::start(&mut serve(&[("auth.keys_file", &path), ("server.metrics_listen", "127.0.0.1:0")]));
    assert_eq!(ask(server.addr, "GET", "/healthz", "evil.example").0, 200);
    assert_eq!(ask(server.addr, "GET", "/v1/models", "evil.example").0, 401);
    let mut caller = Caller::connect(server.addr);
    caller.send(&format!("GET /v1/models HTTP/1.1\r\nHost: glassbox.example.com\r\nX-API-Key: {}\r\n\r\n", key.text));
    assert_eq!(caller.answer().status, 200);
    // Beside them, a listener that asks for none.
    let second = addr(&server, "metrics_addr");
    assert_eq!(ask(second, "GET", "/readyz", "evil.example").0, 421);
    assert_eq!(ask(second, "GET", "/readyz", "localhost").0, 200);

    let everywhere = [("server.listen", "0.0.0.0:0"), ("server.metrics_listen", "0.0.0.0:0"), ("auth.mode", "off")];
    let server = Server::start(&mut serve(&everywhere));
    for addr in [server.addr, addr(&server, "metrics_addr")] {
        assert_eq!(ask((([127, 0, 0, 1]), addr.port()).into(), "GET", "/readyz", "evil.example").0, 200);
    }
}

#[test]
fn the_listener_of_a_worker_answers_by_names_of_this_machine() {
    let redis = Redis::start();
    let mut command = glassbox(&["worker", "--listen", "127.0.0.1:0", "--model", "model/doubler/1/model.onnx"]);
    let worker = Server::spawn(command.env(variable("redis.url"), redis.url()));
    until("the worker is ready", || ask(worker.addr, "GET", "/readyz", "localhost").0 == 200);
    assert_eq!(ask(worker.addr, "GET", "/readyz", "evil.example").0, 421);
    assert_eq!(ask(worker.addr, "GET", "/metrics", "evil.example").0, 421);
}

#[test]
fn the_names_of_the_configuration_are_checked() {
    for (hosts, good) in [
        ("box,box.example.com,box_1,10.0.0.7,::1,[2001:db8::7]", true),
        ("http://box", false),
        ("box:8080", false),
        ("*.example.com", false),
        ("a..b", false),
        ("box/", false),
    ] {
        let mut command = glassbox(&["check-config"]);
        let finished = crate::support::run(command.env(variable("server.hosts"), hosts));
        assert_eq!(finished.code == Some(0), good, "{hosts}: {}", finished.stderr);
        assert!(good || finished.stderr.contains("server.hosts"), "{}", finished.stderr);
    }
}

/// Names that the servers here are to be called by.
const HOSTS: (&str, &str) = ("server.hosts", "test,box.example.com,10.0.0.7");

/// The status and the body of an answer over a connection of its own.
fn ask(addr: SocketAddr, method: &str, target: &str, host: &str) -> (u16, Value) {
    let mut caller = Caller::connect(addr);
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
    caller.send(&head);
    let answer = caller.answer();
    (answer.status, answer.body)
}

/// Calls by HTTP/2, with `host` in the target.
async fn call(addr: SocketAddr, host: &str, path: &str, grpc: Option<&str>) -> super::client::Answer {
    let stream = TokioIo::new(patiently(TcpStream::connect(addr)).await.unwrap());
    let (mut sender, driver) =
        patiently(hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)).await.unwrap();
    let mut connection = JoinSet::new();
    connection.spawn(async { drop(driver.await) });
    let request = Request::builder().method(if grpc.is_some() { Method::POST } else { Method::GET });
    let request = request.uri(format!("http://{host}{path}"));
    let request = grpc.iter().fold(request, |request, kind| request.header("content-type", *kind));
    let body = match grpc {
        Some(_) => http_body_util::Full::new(bytes::Bytes::from_static(&[0; 5])).boxed(),
        None => Empty::new().boxed(),
    };
    let response = patiently(sender.send_request(request.body(body).unwrap())).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = patiently(body.collect()).await.unwrap().to_bytes();
    super::client::Answer { status: parts.status, version: parts.version, headers: parts.headers, body }
}

/// One of the addresses of the start line.
fn addr(server: &Server, name: &str) -> SocketAddr {
    let line = server.log.iter().find(|line| line["message"] == "listening").unwrap();
    line[name].as_str().unwrap().parse().unwrap()
}
