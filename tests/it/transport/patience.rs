//! How long a caller may keep silent, or leave an answer untouched.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{Method, Request};
use serde_json::json;

use super::{
    client::{Client, patiently},
    serve,
};
use crate::support::{Caller, Server};

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame of SETTINGS that says nothing.
const SETTINGS: &str = "\0\0\0\x04\0\0\0\0\0";

/// Much more than any limit that is met here, and much less than those that are not.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn whoever_does_not_get_to_a_request_is_cut_after_header_timeout_in_total() {
    let server = Server::start(&mut serve(&[("server.header_timeout", "1s"), ("server.idle_timeout", "60s")]));
    let long = format!("GET /healthz HTTP/1.1\r\nX: {}", "a".repeat(1000));
    let cases = [
        ("nothing is sent", ""),
        ("one byte is sent", "G"),
        ("half of HTTP/2's preface is sent", &PREFACE[..12]),
        ("a head comes slowly", &long),
        ("HTTP/2's preface comes slowly", PREFACE),
    ];
    std::thread::scope(|scope| {
        for (what, bytes) in cases {
            let addr = server.addr;
            scope.spawn(move || {
                let opened = Instant::now();
                let took = if what.contains("slowly") {
                    trickle(TcpStream::connect(addr).unwrap(), bytes.as_bytes(), Duration::from_millis(100))
                } else {
                    let mut caller = Caller::connect(addr);
                    caller.send(bytes);
                    assert_eq!(caller.closed(), "", "{what}");
                    opened.elapsed()
                };
                assert!(took >= Duration::from_secs(1) && took < SOON, "{what}, and it took {took:?}");
            });
        }
    });
}

#[test]
fn the_second_head_of_a_connection_has_header_timeout_from_its_first_byte_on() {
    let server = Server::start(&mut serve(&[("server.header_timeout", "1s"), ("server.idle_timeout", "60s")]));
    let mut caller = Caller::connect(server.addr);
    assert_eq!(caller.get("/healthz").status, 200);
    // Silence in between is another limit's.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(caller.get("/healthz").status, 200);
    caller.send("GET /healthz HTTP/1.1\r\n");
    let began = Instant::now();
    assert_eq!(caller.closed(), "");
    assert!(began.elapsed() < SOON);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_request_ends_after_idle_timeout() {
    let server = Server::start(&mut serve(&[("server.idle_timeout", "1s"), ("server.header_timeout", "60s")]));
    for http2 in [false, true] {
        let mut client = match http2 {
            true => Client::http2(server.addr).await,
            false => Client::http1(server.addr).await,
        };
        // Each request begins the time anew.
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            assert_eq!(client.post("/v1/predict", &json!({"input": [1]})).await.status, 200);
        }
        let answered = Instant::now();
        client.closed().await;
        let took = answered.elapsed();
        assert!(took >= Duration::from_millis(900) && took < SOON, "HTTP/2: {http2}, and it took {took:?}");
        assert!(!client.is_open().await);
    }
    // In HTTP/2, frames that are no request are no reason to stay, nor is not answering the farewell.
    let opened = Instant::now();
    let mut stream = TcpStream::connect(server.addr).unwrap();
    stream.write_all(PREFACE.as_bytes()).unwrap();
    let settings = SETTINGS.repeat(1000);
    let took = trickle(stream, settings.as_bytes(), Duration::from_millis(20));
    assert!(took < SOON, "{:?}", opened.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_answer_that_nobody_takes_gives_its_room_back() {
    let settings = [("server.request_timeout", "2s"), ("server.body_limit", "1MiB"), ("server.bodies_limit", "3MiB")];
    let server = Server::start(&mut serve(&settings));
    // Some 2 MB when written out, and taken by nobody but an eager client.
    let body = format!(r#"{{"input":[{}0]}}"#, "1e9,".repeat(180_000));
    let stream = patiently(tokio::net::TcpStream::connect(server.addr)).await.unwrap();
    let (mut sender, connection) =
        h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
    let ask = async {
        let request = Request::post("http://test/v1/predict").header("content-type", "application/json");
        let (response, mut upload) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        upload.send_data(body.clone().into(), true).unwrap();
        let response = patiently(response).await.unwrap();
        assert_eq!(response.status(), 200);
        let held = Instant::now();
        let mut other = Client::http1(server.addr).await;
        let json = [("content-type", "application/json")];
        let refused = other.send(Method::POST, "/v1/predict", &json, &body).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (503, &json!("overloaded")));
        while other.send(Method::POST, "/v1/predict", &json, &body).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(held.elapsed() >= Duration::from_secs(2), "the answer was cut after {:?}", held.elapsed());
        response
    };
    let (_ended, response) = tokio::join!(patiently(connection), ask);
    let data = patiently(response.into_body().data()).await;
    assert!(matches!(data, Some(Err(_))), "the answer did not break off: {data:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_that_goes_on_gets_its_whole_answer() {
    let server = Server::start(&mut serve(&[("server.request_timeout", "1s"), ("server.idle_timeout", "1s")]));
    let body = format!(r#"{{"input":[{}0]}}"#, "1e9,".repeat(40_000));
    let stream = patiently(tokio::net::TcpStream::connect(server.addr)).await.unwrap();
    let (mut sender, connection) =
        h2::client::Builder::new().initial_window_size(64 * 1024).handshake::<_, Bytes>(stream).await.unwrap();
    let ask = async {
        let request = Request::post("http://test/v1/predict").header("content-type", "application/json");
        let (response, mut upload) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        upload.send_data(body.into(), true).unwrap();
        let mut body = patiently(response).await.unwrap().into_body();
        let (mut length, began) = (0, Instant::now());
        while let Some(data) = patiently(body.data()).await {
            let data = data.unwrap();
            length += data.len();
            tokio::time::sleep(Duration::from_millis(200)).await;
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        assert!(began.elapsed() > Duration::from_secs(4), "it was no slow reader: {:?}", began.elapsed());
        assert!(length > 480_000, "{length} bytes came");
        drop(sender);
    };
    let (ended, ()) = tokio::join!(patiently(connection), ask);
    drop(ended);
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
            let asked = Instant::now();
            let answer = client.post("/v1/predict", &json!({"input": [n]})).await;
            assert_eq!(answer.json()["prediction"], json!([f64::from(n * 2)]));
            assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
        }
    };
    tokio::join!(flood, honest);
    assert_eq!(Client::http1(addr).await.get("/readyz").await.status, 200);
}

/// Makes requests and takes each back before it can be answered.
async fn take_back(mut sender: h2::client::SendRequest<Bytes>, number: usize) {
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
