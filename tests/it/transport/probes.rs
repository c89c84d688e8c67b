//! The second listener, and the limit on connections that it does not share.

use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{
    certificates::{Pair, trust},
    client::{Client, handshake},
    serve,
};
use crate::support::{Caller, Server, glassbox, run, until, variable};

#[tokio::test(flavor = "multi_thread")]
async fn the_second_listener_answers_probes_and_metrics_only_and_the_first_no_metrics() {
    let server = Server::start(&mut serve(&[("server.metrics_listen", "127.0.0.1:0")]));
    let mut first = Client::http1(server.addr).await;
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 404), ("/", 200)] {
        assert_eq!(first.get(path).await.status.as_u16(), status, "{path}");
    }
    for mut second in [Client::http1(second(&server)).await, Client::http2(second(&server)).await] {
        for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/", 404), ("/v1/models", 404)]
        {
            assert_eq!(second.get(path).await.status.as_u16(), status, "{path}");
        }
        let metrics = second.get("/metrics").await;
        assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(second.post("/v1/predict", &json!({"input": [1]})).await.status.as_u16(), 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_second_listener_metrics_are_beside_the_api() {
    let server = Server::start(&mut serve(&[]));
    assert_eq!(Client::http1(server.addr).await.get("/metrics").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_while_callers_hold_all_connections() {
    let settings = [("server.metrics_listen", "127.0.0.1:0"), ("server.max_connections", "4")];
    let settings = [&settings[..], &[("server.body_timeout", "300s")]].concat();
    let server = Server::start(&mut serve(&settings));
    let mut holding = Vec::new();
    for _ in 0..4 {
        let mut caller = Caller::connect(server.addr);
        caller.begin_post("/v1/predict", &json!({"input": [1]}));
        holding.push(caller);
    }
    let mut probe = Client::http1(second(&server)).await;
    assert_eq!(probe.get("/healthz").await.status, 200);
    assert_eq!(probe.get("/readyz").await.status, 200);
    // The four, and this one.
    assert_eq!(open(&mut probe).await, 5);
    let check = run(glassbox(&["healthcheck"])
        .env(variable("server.listen"), server.addr.to_string())
        .env(variable("server.metrics_listen"), second(&server).to_string()));
    assert_eq!(check.code, Some(0), "{}", check.stderr);
    // One more is let in when a place is free.
    holding.pop();
    let mut caller = Caller::connect(server.addr);
    until("a place is free", || caller.post("/v1/predict", &json!({"input": [1]})).status == 200);
    drop((holding, caller));
    while open(&mut probe).await != 1 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_listener_speaks_plain_http_beside_tls_and_answers_until_the_end() {
    let pair = Pair::new();
    let settings = [("server.metrics_listen", "127.0.0.1:0"), ("drain.timeout", "3s"), ("server.body_timeout", "600s")];
    let mut server = Server::start(&mut serve(&[&pair.settings()[..], &settings].concat()));
    let mut client = Client::https(server.addr, &trust(&[&pair])).await.unwrap();
    assert_eq!(client.get("/healthz").await.status, 200);
    // In plain HTTP on the first listener nothing is answered, and on the second everything.
    let mut probe = Client::http1(second(&server)).await;
    assert_eq!(probe.get("/readyz").await.status, 200);
    assert_eq!(metric(&mut probe, "server_ready").await, 1);
    drop(client);

    // Something to wait for: the drain lasts until its timeout.
    let mut trust = trust(&[&pair]);
    trust.protocols = &["http/1.1"];
    let mut tls = handshake(server.addr, &trust).await.unwrap();
    let head =
        "POST /v1/predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    tls.write_all(head.as_bytes()).await.unwrap();
    server.signal("TERM");
    server.until(|line| line["message"] == "draining");
    until("the first listener is closed", || std::net::TcpStream::connect(server.addr).is_err());
    let mut probe = Client::http1(second(&server)).await;
    let answer = probe.get("/readyz").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!("draining")));
    assert_eq!(metric(&mut Client::http1(second(&server)).await, "server_ready").await, 0);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_taken_port_of_the_second_listener_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let finished = run(&mut serve(&[("server.metrics_listen", &addr)]));
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.contains(&format!("cannot listen on {addr}")), "{}", finished.stderr);
}

/// Where the second listener is.
fn second(server: &Server) -> std::net::SocketAddr {
    let line = server.log.iter().find(|line| line["message"] == "listening").unwrap();
    line["metrics_addr"].as_str().unwrap().parse().unwrap()
}

/// Connections that the server says are open.
async fn open(client: &mut Client) -> usize {
    metric(client, "http_connections_open").await
}

/// The value of a series without labels.
async fn metric(client: &mut Client, name: &str) -> usize {
    let metrics = String::from_utf8(client.get("/metrics").await.body.to_vec()).unwrap();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}
