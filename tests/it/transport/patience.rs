//! How long a caller may keep silent, or leave an answer untouched.

use std::{
    io::Write,
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use hyper::{Method, Request, Response};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use super::{
    client::{Client, patiently},
    serve,
};
use crate::support::{Caller, Long, Server, glassbox, variable};

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame of SETTINGS that says nothing.
const SETTINGS: &str = "\0\0\0\x04\0\0\0\0\0";

/// The limit that is met: more than a busy machine takes to send or read a head.
const LIMIT: Duration = Duration::from_secs(3);

#[test]
fn whoever_does_not_get_to_a_request_is_cut_after_header_timeout_in_total() {
    let server = Server::start(&mut serve(&[("server.header_timeout", "3s"), ("server.idle_timeout", "600s")]));
    let long = format!("GET /healthz HTTP/1.1\r\nX: {}", "a".repeat(1000));
    let cases = [
        ("nothing is sent", ""),
        ("one byte is sent", "G"),
        ("half of HTTP/2's preface is sent", &PREFACE[..12]),
        ("a head comes slowly", &long),
        ("HTTP/2's preface comes slowly", PREFACE),
        ("HTTP/2 comes slowly, and no request", &format!("{PREFACE}{}", SETTINGS.repeat(100))),
    ];
    std::thread::scope(|scope| {
        for (what, bytes) in cases {
            let addr = server.addr;
            scope.spawn(move || {
                let opened = Instant::now();
                let took = if what.contains("slowly") {
                    trickle(TcpStream::connect(addr).unwrap(), bytes.as_bytes(), Duration::from_millis(200))
                } else {
                    let mut caller = Caller::connect(addr);
                    caller.send(bytes);
                    assert_eq!(caller.closed(), "", "{what}");
                    opened.elapsed()
                };
                assert!(took >= LIMIT, "{what}, and it took {took:?}");
            });
        }
    });
}

#[test]
fn the_second_head_of_a_connection_has_header_timeout_from_its_first_byte_on() {
    let server = Server::start(&mut serve(&[("server.header_timeout", "3s"), ("server.idle_timeout", "600s")]));
    let mut caller = Caller::connect(server.addr);
    assert_eq!(caller.get("/healthz").status, 200);
    // Silence in between is another limit's.
    std::thread::sleep(LIMIT + Duration::from_secs(1));
    assert_eq!(caller.get("/healthz").status, 200);
    caller.send("GET /healthz HTTP/1.1\r\n");
    assert_eq!(caller.closed(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_request_ends_after_idle_timeout() {
    let server = Server::start(&mut serve(&[("server.idle_timeout", "3s"), ("server.header_timeout", "600s")]));
    for http2 in [false, true] {
        let mut client = match http2 {
            true => Client::http2(server.addr).await,
            false => Client::http1(server.addr).await,
        };
        // Each request begins the time anew.
        for _ in 0..4 {
            tokio::time::sleep(LIMIT / 3).await;
            assert_eq!(client.post("/v1/predict", &json!({"input": [1]})).await.status, 200);
        }
        let answered = Instant::now();
        client.closed().await;
        let took = answered.elapsed();
        assert!(took >= LIMIT * 9 / 10, "HTTP/2: {http2}, and it took {took:?}");
        assert!(!client.is_open().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_http2_that_are_no_request_keep_no_connection_open() {
    let server = Server::start(&mut serve(&[("server.idle_timeout", "3s"), ("server.header_timeout", "600s")]));
    let (mut sender, mut connection) = patiently(h2::client::handshake(connect(&server).await)).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let ask = async {
        let (response, _) = sender.send_request(Request::get("http://test/healthz").body(()).unwrap(), true).unwrap();
        assert_eq!(patiently(response).await.unwrap().status(), 200);
        let answered = Instant::now();
        while patiently(pings.ping(h2::Ping::opaque())).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = answered.elapsed();
        assert!(took >= LIMIT * 9 / 10, "it took {took:?}");
    };
    let _ended = tokio::join!(patiently(connection), ask);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_answer_that_nobody_takes_gives_its_room_back() {
    let settings = [("server.request_timeout", "3s"), ("server.body_limit", "1MiB"), ("server.bodies_limit", "3MiB")];
    let long = Long::new();
    let server = Server::start(&mut serve_long(&long, &settings));
    // Taken by nobody but an eager client.
    let body = Long::ask(2_000_000).to_string();
    let (mut sender, connection) = narrow(&server, 64 * 1024).await;
    let ask = async {
        let response = post(&mut sender, &body).await;
        assert_eq!(response.status(), 200);
        let held = Instant::now();
        // A refusal comes before the end of the body, and ends its connection.
        let ask = async || {
            let mut other = Client::http1(server.addr).await;
            other.send(Method::POST, Long::PATH, &[("content-type", "application/json")], &body).await
        };
        let refused = ask().await;
        assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (503, &json!("overloaded")));
        while ask().await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(held.elapsed() >= LIMIT * 9 / 10, "the answer was cut after {:?}", held.elapsed());
        response
    };
    let (_ended, response) = tokio::join!(patiently(connection), ask);
    // What was sent before the server knew of the window may be there.
    let mut body = response.into_body();
    while let Some(data) = patiently(body.data()).await {
        if data.is_err() {
            return;
        }
    }
    panic!("the answer did not break off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_that_goes_on_gets_its_whole_answer() {
    let long = Long::new();
    let settings = [("server.request_timeout", "3s"), ("server.idle_timeout", "3s")];
    let server = Server::start(&mut serve_long(&long, &settings));
    let body = Long::ask(LENGTH).to_string();
    let stream = patiently(tokio::net::TcpStream::connect(server.addr)).await.unwrap();
    let (mut sender, connection) =
        h2::client::Builder::new().initial_window_size(64 * 1024).handshake::<_, Bytes>(stream).await.unwrap();
    let ask = async {
        let began = Instant::now();
        let length = read_slowly(post(&mut sender, &body).await.into_body()).await;
        assert!(began.elapsed() > 2 * LIMIT, "it was no slow reader: {:?}", began.elapsed());
        assert!(length > LENGTH, "{length} bytes came");
        drop(sender);
    };
    let (ended, ()) = tokio::join!(patiently(connection), ask);
    drop(ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_answer_that_nobody_takes_does_not_break_off_the_others_of_its_connection() {
    let long = Long::new();
    let server = Server::start(&mut serve_long(&long, &[("server.request_timeout", "3s")]));
    let body = Long::ask(LENGTH).to_string();
    let (mut sender, connection) = narrow(&server, 64 * 1024).await;
    let ask = async {
        let stuck = post(&mut sender, &body).await;
        let length = read_slowly(post(&mut sender, &body).await.into_body()).await;
        assert!(length > LENGTH, "{length} bytes came");
        assert!(sender.ready().await.is_err(), "the connection was not told to end");
        stuck
    };
    let (_ended, stuck) = tokio::join!(patiently(connection), ask);
    assert_eq!(stuck.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_taken_byte_by_byte_breaks_off() {
    let long = Long::new();
    let server = Server::start(&mut serve_long(&long, &[("server.request_timeout", "3s")]));
    // More than the buffers of both sockets hold: the caller's is small, the system bounds the other.
    let body = Long::ask(16_000_000).to_string();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream = patiently(socket.connect(server.addr)).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", Long::PATH, body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    patiently(stream.read_u8()).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < 3 * LIMIT {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _ = patiently(stream.read_u8()).await;
    }
    let mut rest = Vec::new();
    let _ = patiently(stream.read_to_end(&mut rest)).await;
    assert!(rest.len() < 15_000_000, "the whole answer came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_requests_taken_back_at_once_hurts_nobody_else() {
    let server = Server::start(&mut serve(&[("server.max_streams", "32")]));
    let addr = server.addr;
    let flood = async {
        // As often as the server ends the connection, up to a number that would hurt.
        for _ in 0..50 {
            let stream = patiently(tokio::net::TcpStream::connect(addr)).await.unwrap();
            let (sender, connection) = patiently(h2::client::handshake(stream)).await.unwrap();
            tokio::select! {
                _ = connection => {}
                () = take_back(sender, 400) => {}
            }
        }
    };
    let honest = async {
        let mut client = Client::http2(addr).await;
        for n in 0..100 {
            let answer = client.post("/v1/predict", &json!({"input": [n]})).await;
            assert_eq!(answer.json()["prediction"], json!([f64::from(n * 2)]));
        }
    };
    tokio::join!(flood, honest);
    assert_eq!(Client::http1(addr).await.get("/readyz").await.status, 200);
}

/// What a slow reader takes, in bytes.
const LENGTH: usize = 500_000;

/// The same server with [`Long`] in the place of its model.
fn serve_long(long: &Long, settings: &[(&str, &str)]) -> Command {
    let mut command = glassbox(&["serve", "--listen", "127.0.0.1:0", "--model", long.path().to_str().unwrap()]);
    command.env(variable("rate_limit.enabled"), "false");
    command.envs(settings.iter().map(|(key, value)| (variable(key), value)));
    command
}

async fn connect(server: &Server) -> tokio::net::TcpStream {
    patiently(tokio::net::TcpStream::connect(server.addr)).await.unwrap()
}

/// A caller of HTTP/2 that takes no more than so many bytes of each answer unless it says so.
async fn narrow(server: &Server, window: u32) -> (SendRequest<Bytes>, Connection<tokio::net::TcpStream>) {
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(16 * 1024 * 1024);
    patiently(builder.initial_window_size(window).handshake(connect(server).await)).await.unwrap()
}

/// The head of an answer.
async fn post(sender: &mut SendRequest<Bytes>, body: &str) -> Response<h2::RecvStream> {
    let request = Request::post(format!("http://test{}", Long::PATH)).header("content-type", "application/json");
    let (response, mut upload) = sender.send_request(request.body(()).unwrap(), false).unwrap();
    upload.send_data(body.to_owned().into(), true).unwrap();
    patiently(response).await.unwrap()
}

/// Takes an answer with pauses; its length.
async fn read_slowly(mut body: h2::RecvStream) -> usize {
    let mut length = 0;
    while let Some(data) = patiently(body.data()).await {
        let data = data.unwrap();
        length += data.len();
        tokio::time::sleep(Duration::from_millis(250)).await;
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    length
}

/// Makes requests and takes each back before it can be answered.
async fn take_back(mut sender: SendRequest<Bytes>, number: usize) {
    for _ in 0..number {
        let Ok(ready) = sender.ready().await else { return };
        sender = ready;
        let request = Request::post("http://test/v1/predict").header("content-type", "application/json");
        let Ok((_response, mut upload)) = sender.send_request(request.body(()).unwrap(), false) else { return };
        upload.send_reset(h2::Reason::CANCEL);
    }
}

/// Sends one byte after the other until the server has ended the connection; how long that took.
fn trickle(mut stream: TcpStream, bytes: &[u8], pause: Duration) -> Duration {
    let opened = Instant::now();
    for byte in bytes {
        if stream.write_all(&[*byte]).is_err() {
            return opened.elapsed();
        }
        std::thread::sleep(pause);
    }
    panic!("all {} bytes were taken, in {:?}", bytes.len(), opened.elapsed());
}
