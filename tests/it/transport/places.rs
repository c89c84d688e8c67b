//! Places for connections: who gets one, who makes room, and who is answered without one.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use hyper::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{
    certificates::{Pair, trust},
    client::{Answer, Client, patiently},
    serve,
};
use crate::support::{KeysFile, Server, eventually, run};

/// More than a connection has to be idle to make room.
const IDLE: Duration = Duration::from_millis(200);

/// A request that asks whether its body is wanted: the answer tells that it has a place.
const BEGUN: &str = "POST /v1/predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
                     Expect: 100-continue\r\nContent-Length: 13\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_caller_takes_the_place_of_the_connection_that_was_idle_for_longest() {
    let pair = Pair::new();
    for tls in [false, true] {
        let settings = if tls { pair.settings() } else { Vec::new() };
        let settings = [&settings[..], &[("server.max_connections", "4"), ("server.body_timeout", "300s")]].concat();
        let server = Server::start(&mut serve(&settings));
        let connect = async |http2| match (tls, http2) {
            (false, false) => Client::http1(server.addr).await,
            (false, true) => Client::http2(server.addr).await,
            (true, http2) => {
                let mut trust = trust(&[&pair]);
                trust.protocols = if http2 { &["h2"] } else { &["http/1.1"] };
                Client::https(server.addr, &trust).await.unwrap()
            }
        };
        let mut open = VecDeque::new();
        for n in 0..4 {
            let mut client = connect(n % 2 == 0).await;
            assert_eq!(predict(&mut client).await.status, 200);
            open.push_back(client);
            tokio::time::sleep(IDLE).await;
        }
        // The first one asks again, and is the last one to go from then on.
        let mut first = open.pop_front().unwrap();
        assert_eq!(predict(&mut first).await.status, 200);
        open.push_back(first);
        for n in 0..6 {
            tokio::time::sleep(IDLE).await;
            let mut new = connect(n % 2 == 0).await;
            assert_eq!(predict(&mut new).await.status, 200, "TLS: {tls}, {n}");
            let mut longest = open.pop_front().unwrap();
            longest.closed().await;
            open.push_back(new);
        }
        // All others were left alone.
        for mut client in open {
            assert_eq!(predict(&mut client).await.status, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_request_make_room_in_their_order_of_arrival() {
    let server = Server::start(&mut serve(&[("server.max_connections", "3"), ("server.header_timeout", "300s")]));
    let mut silent = TcpStream::connect(server.addr).await.unwrap();
    tokio::time::sleep(IDLE).await;
    let mut halfway = TcpStream::connect(server.addr).await.unwrap();
    halfway.write_all(b"GET /v1/models HTTP/1.1\r\nHost: te").await.unwrap();
    tokio::time::sleep(IDLE).await;
    let mut asked = Client::http2(server.addr).await;
    assert_eq!(asked.get("/v1/models").await.status, 200);
    // Half a head is a request on its way, but not for long.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut new = Vec::new();
    for victim in [&mut silent, &mut halfway] {
        let mut client = Client::http1(server.addr).await;
        assert_eq!(client.get("/v1/models").await.status, 200);
        new.push(client);
        assert_eq!(rest(victim).await, b"");
    }
    assert_eq!(asked.get("/v1/models").await.status, 200);
    assert_eq!(metric(&mut asked, "http_connections_displaced_total").await, 2);
    assert_eq!(metric(&mut asked, "http_connections_refused_total").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_are_at_work_a_new_caller_is_told_so_and_those_who_look_after_the_server_are_answered() {
    let settings = [("server.max_connections", "3"), ("server.body_timeout", "300s")];
    let server = Server::start(&mut serve(&settings));
    let mut working = Vec::new();
    for _ in 0..3 {
        working.push(begin(TcpStream::connect(server.addr).await.unwrap()).await);
    }
    for http2 in [false, true] {
        let connect = async || if http2 { Client::http2(server.addr).await } else { Client::http1(server.addr).await };
        for path in ["/v1/models", "/v1/predict", "/", "/docs", "/nowhere", "/v2/models/doubler"] {
            let mut client = connect().await;
            let answer = match path {
                "/v1/predict" => predict(&mut client).await,
                path => client.get(path).await,
            };
            assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!("overloaded")), "{path}");
            assert!(answer.json()["detail"].as_str().unwrap().contains("server.max_connections"), "{}", answer.json());
            assert!(answer.header("retry-after").is_some());
            assert_eq!(answer.header("connection"), (!http2).then_some("close"));
            client.closed().await;
        }
        for path in [
            "/healthz",
            "/readyz",
            "/metrics",
            "/v2/health/ready",
            "/v1/stats",
            "/v1/debug/requests",
            "/console",
            "/console/main.js",
        ] {
            let mut client = connect().await;
            let answer = client.get(path).await;
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.header("connection"), (!http2).then_some("close"));
            client.closed().await;
        }
    }
    assert_eq!(call(server.addr, "/inference.GRPCInferenceService/ModelInfer").await.header("grpc-status"), Some("14"));
    // An answer with a message has its status behind it.
    assert_eq!(call(server.addr, "/grpc.health.v1.Health/Check").await.header("grpc-status"), None);
    let mut probe = Client::http1(server.addr).await;
    let metrics = text(&mut probe).await;
    assert_eq!(value(&metrics, "http_connections_refused_total"), 13);
    assert_eq!(value(&metrics, "http_connections_displaced_total"), 0);
    // Nothing was taken from those who were at it.
    for mut stream in working {
        stream.write_all(br#"{"input":[1]}"#).await.unwrap();
        assert!(some(&mut stream).await.starts_with(b"HTTP/1.1 200"));
    }
    eventually("a place is free", async || predict(&mut Client::http1(server.addr).await).await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_a_moment_for_a_place() {
    let server = Server::start(&mut serve(&[("server.max_connections", "1"), ("server.body_timeout", "300s")]));
    for round in 0..20 {
        // Idle for no time at all when the next one comes.
        let mut client = Client::http1(server.addr).await;
        assert_eq!(predict(&mut client).await.status, 200, "{round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_a_bound_of_its_own_and_its_own_idle_connections_make_room_first() {
    let settings = [
        ("server.max_connections", "100"),
        ("server.address_connections", "3"),
        ("server.trusted_proxies", "127.0.0.9"),
        ("server.body_timeout", "300s"),
    ];
    let server = Server::start(&mut serve(&settings));
    let addr = server.addr;
    let mut neighbour = from([127, 0, 0, 2], addr).await;
    assert_eq!(predict(&mut neighbour).await.status, 200);
    tokio::time::sleep(IDLE).await;
    let mut idle = VecDeque::new();
    for _ in 0..6 {
        let mut client = from([127, 0, 0, 3], addr).await;
        assert_eq!(predict(&mut client).await.status, 200);
        idle.push_back(client);
        if idle.len() > 3 {
            idle.pop_front().unwrap().closed().await;
        }
        tokio::time::sleep(IDLE).await;
    }
    // It was idle for longer, and is another's.
    assert_eq!(predict(&mut neighbour).await.status, 200);
    let mut working = Vec::new();
    for _ in 0..3 {
        working.push(begin(connect_from([127, 0, 0, 4], addr).await).await);
    }
    let refused = predict(&mut from([127, 0, 0, 4], addr).await).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (503, &json!("overloaded")));
    assert!(refused.json()["detail"].as_str().unwrap().contains("server.address_connections"));
    assert_eq!(from([127, 0, 0, 4], addr).await.get("/healthz").await.status, 200);
    assert_eq!(predict(&mut from([127, 0, 0, 5], addr).await).await.status, 200);
    // A proxy speaks for many.
    for _ in 0..5 {
        working.push(begin(connect_from([127, 0, 0, 9], addr).await).await);
    }
    assert_eq!(predict(&mut from([127, 0, 0, 9], addr).await).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_silent_connections_keeps_neither_callers_nor_probes_out() {
    let settings =
        [("server.max_connections", "20"), ("server.header_timeout", "300s"), ("server.body_timeout", "300s")];
    let server = Server::start(&mut serve(&settings));
    let addr = server.addr;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(connect_from([127, 0, 0, 2], addr).await);
    }
    // Callers come in between, from the same address and from another one.
    for source in [[127, 0, 0, 2], [127, 0, 0, 3]] {
        assert_eq!(predict(&mut from(source, addr).await).await.status, 200);
    }
    // Now all places are taken by requests, and the reserve is flooded: each takes but its share.
    let mut working = Vec::new();
    while working.len() < 20 {
        let mut stream = connect_from([127, 0, 0, 2], addr).await;
        stream.write_all(BEGUN.as_bytes()).await.unwrap();
        match String::from_utf8_lossy(&some(&mut stream).await).starts_with("HTTP/1.1 100") {
            true => working.push(stream),
            false => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    for _ in 0..300 {
        silent.push(connect_from([127, 0, 0, 2], addr).await);
    }
    for source in [[127, 0, 0, 2], [127, 0, 0, 3]] {
        assert_eq!(from(source, addr).await.get("/readyz").await.status, 200, "{source:?}");
        let refused = predict(&mut from(source, addr).await).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (503, &json!("overloaded")), "{source:?}");
    }
    // No more than the places, the reserve, and this one; who is cut takes a moment to be gone.
    eventually("the flood is gone", async || {
        metric(&mut from([127, 0, 0, 3], addr).await, "http_connections_open").await <= 20 + 128
    })
    .await;
    for mut stream in silent {
        // Silence in the reserve ends soon, and that in a place has ended.
        rest(&mut stream).await;
    }
    drop(working);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_descriptors_run_out_idle_connections_make_room_too() {
    let server = Server::start(&mut serve(&[("server.header_timeout", "300s"), ("server.idle_timeout", "300s")]));
    let mut client = Client::http1(server.addr).await;
    assert_eq!(client.get("/healthz").await.status, 200);
    let (pid, open) =
        (server.pid().to_string(), std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count());
    let limit = format!("--nofile={}:", open + 10);
    let set = run(std::process::Command::new("prlimit").args(["--pid", &pid, &limit]));
    assert_eq!(set.code, Some(0), "{}", set.stderr);
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(patiently(TcpStream::connect(server.addr)).await.unwrap());
    }
    assert_eq!(predict(&mut Client::http1(server.addr).await).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_let_in_by_their_keys() {
    let file = KeysFile::new();
    let (admin, caller) = (file.create(&["--scope", "admin"]), file.create(&["--scope", "predict"]));
    let keys_file = file.path().display().to_string();
    let settings = [("server.max_connections", "1"), ("server.body_timeout", "300s"), ("auth.keys_file", &*keys_file)];
    let server = Server::start(&mut serve(&settings));
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let head = BEGUN.replace("Host: test\r\n", &format!("Host: test\r\nX-API-Key: {}\r\n", caller.text));
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(some(&mut stream).await.starts_with(b"HTTP/1.1 100"));
    for (key, method, path, status) in [
        (&*admin.text, Method::GET, "/v1/debug/requests", 200),
        (&admin.text, Method::POST, "/v2/repository/index", 200),
        (&caller.text, Method::POST, "/v2/repository/index", 403),
        ("", Method::GET, "/v1/debug/requests", 401),
        (&caller.text, Method::GET, "/v1/stats", 200),
        (&caller.text, Method::GET, "/v1/models", 503),
        ("", Method::GET, "/v1/models", 503),
    ] {
        let mut client = Client::http1(server.addr).await;
        let answer = client.send(method, path, &[("x-api-key", key), ("content-type", "application/json")], "{}").await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_of_grpc_has_places_of_its_own_that_are_kept_alike() {
    let server = Server::start(&mut serve(&[("server.grpc_listen", "127.0.0.1:0"), ("server.max_connections", "1")]));
    let line = server.log.iter().find(|line| line["message"] == "listening").unwrap();
    let addr: SocketAddr = line["grpc_addr"].as_str().unwrap().parse().unwrap();
    let (mut sender, connection) =
        patiently(h2::client::handshake(TcpStream::connect(addr).await.unwrap())).await.unwrap();
    let ask = async {
        let request = hyper::Request::post("http://test/grpc.health.v1.Health/Watch");
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        let (response, mut upload) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        upload.send_data(bytes::Bytes::from_static(&[0; 5]), true).unwrap();
        let watching = patiently(response).await.unwrap();
        let refused = call(addr, "/inference.GRPCInferenceService/ModelInfer").await;
        assert_eq!((refused.header("grpc-status"), refused.header("error-code")), (Some("14"), Some("overloaded")));
        assert_eq!(call(addr, "/grpc.health.v1.Health/Check").await.header("grpc-status"), None);
        drop((watching, upload, sender));
        eventually("the place is free", async || {
            call(addr, "/inference.GRPCInferenceService/ModelInfer").await.header("error-code") != Some("overloaded")
        })
        .await;
    };
    let _ended = tokio::join!(patiently(connection), ask);
}

/// Begins a request, and waits until the server is at it.
async fn begin(mut stream: TcpStream) -> TcpStream {
    stream.write_all(BEGUN.as_bytes()).await.unwrap();
    let begun = some(&mut stream).await;
    assert!(begun.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&begun));
    stream
}

async fn predict(client: &mut Client) -> Answer {
    client.post("/v1/predict", &json!({"input": [1]})).await
}

/// Calls a method of gRPC over a connection of its own.
async fn call(addr: SocketAddr, method: &str) -> Answer {
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    Client::http2(addr).await.send(Method::POST, method, &headers, "\0\0\0\0\0").await
}

async fn from(source: [u8; 4], addr: SocketAddr) -> Client {
    Client::one(connect_from(source, addr).await).await.unwrap()
}

/// From another address of this machine, and so from another caller.
async fn connect_from(source: [u8; 4], addr: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    patiently(socket.connect(addr)).await.unwrap()
}

/// What comes next, or nothing at the end.
async fn some(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let length = patiently(stream.read(&mut bytes)).await.unwrap_or_default();
    bytes.truncate(length);
    bytes
}

/// What comes until the server ends the connection.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = patiently(stream.read_to_end(&mut bytes)).await;
    bytes
}

async fn text(client: &mut Client) -> String {
    String::from_utf8(client.get("/metrics").await.body.to_vec()).unwrap()
}

async fn metric(client: &mut Client, name: &str) -> usize {
    value(&text(client).await, name)
}

fn value(metrics: &str, name: &str) -> usize {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("there is no {name}")).parse().unwrap()
}
