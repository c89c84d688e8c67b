//! Stopping under load: who is being served does not notice.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::Request;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use super::{
    certificates::{Pair, trust},
    client::{Client, handshake, patiently},
    serve,
};
use crate::support::Server;

const DELAY: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(15);

/// How a caller uses its connections.
#[derive(Debug, Clone, Copy)]
enum Habit {
    /// HTTP/1.1, for as long as the server does not end it.
    Kept,
    /// HTTP/1.1, a new one for every request.
    New,
    /// HTTP/2, for as long as the server does not end it.
    Http2,
}

/// How a caller's last request ended.
#[derive(Debug)]
struct Last {
    habit: Habit,
    /// Nobody listened any more.
    refused: bool,
    sent: Instant,
    ended: Instant,
    error: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_fails_no_request_of_two_hundred_connections() {
    let settings = [("drain.delay", "1s"), ("drain.timeout", "15s"), ("server.body_timeout", "600s")];
    let mut server = Server::start(&mut serve(&settings));
    let addr = server.addr;
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for n in 0..200 {
        let habit = [Habit::Kept, Habit::Kept, Habit::New, Habit::Http2][n % 4];
        callers.spawn(call_until_refused(addr, habit, n, Arc::clone(&answered)));
    }
    // Somebody who never finishes a body.
    let mut endless = patiently(TcpStream::connect(addr)).await.unwrap();
    let head =
        "POST /v1/predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    endless.write_all(head.as_bytes()).await.unwrap();

    let mut probe = Client::http1(addr).await;
    assert_eq!(probe.get("/readyz").await.status, 200);
    while answered.load(Ordering::Relaxed) < 2000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let signalled = Instant::now();
    server.signal("TERM");
    while Client::http1(addr).await.get("/readyz").await.status != 503 {}
    let unready = Instant::now();
    let before = answered.load(Ordering::Relaxed);

    let mut last = Vec::new();
    while let Some(caller) = callers.join_next().await {
        last.push(caller.unwrap());
    }
    let exit = server.ended();
    assert_eq!(exit.code(), Some(0));
    assert!(signalled.elapsed() < DELAY + TIMEOUT * 4, "{:?}", signalled.elapsed());
    assert!(answered.load(Ordering::Relaxed) > before, "nobody was served after readiness was off");
    assert_eq!(last.len(), 200);
    for Last { habit, refused, sent, ended, error } in last {
        assert!(sent > unready, "{habit:?}: sent before readiness was off, and failed: {error}");
        assert!(refused, "{habit:?}: {error}");
        assert!(ended > signalled + DELAY, "{habit:?}: refused within drain.delay");
    }
}

/// Makes one request after the other, until one fails.
async fn call_until_refused(addr: SocketAddr, habit: Habit, n: usize, answered: Arc<AtomicUsize>) -> Last {
    let mut client: Option<Client> = None;
    let last = |refused, sent, error| Last { habit, refused, sent, ended: Instant::now(), error };
    loop {
        let sent = Instant::now();
        let usable = match (&mut client, habit) {
            (None, _) | (_, Habit::New) => false,
            (Some(client), _) => client.is_open().await,
        };
        if !usable {
            let stream = match patiently(TcpStream::connect(addr)).await {
                Ok(stream) => stream,
                Err(error) => return last(true, sent, error.to_string()),
            };
            client = match habit {
                Habit::Http2 => Client::two(stream).await.ok(),
                Habit::Kept | Habit::New => Client::one(stream).await.ok(),
            };
        }
        let asked = client.as_mut().unwrap().try_post("/v1/predict", &json!({"input": [n]})).await;
        match asked {
            Ok(answer) => {
                assert_eq!((answer.status.as_u16(), &answer.json()["prediction"]), (200, &json!([2.0 * n as f64])));
                answered.fetch_add(1, Ordering::Relaxed);
                if answer.header("connection") == Some("close") {
                    client = None;
                }
            }
            // It never left: the farewell came first, and a new connection is to be made.
            Err(error) if usable && never_left(&error) => client = None,
            // The system had taken the connection, and nobody had accepted it, when the listener was closed.
            Err(error) => {
                let refused = !usable && sent.elapsed() < TIMEOUT;
                return last(refused, sent, format!("{error:?}"));
            }
        }
    }
}

/// Whether the connection was told to end before the request began. Every client of HTTP/2 tries again then (RFC 9113, 6.8).
fn never_left(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    let farewell = |error: &h2::Error| error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    error.is_canceled() || source.is_some_and(farewell)
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_http2_end_well_and_their_connection_takes_no_more() {
    let pair = Pair::new();
    for tls in [false, true] {
        let settings = if tls { pair.settings() } else { Vec::new() };
        let mut server = Server::start(&mut serve(&settings));
        let stream: Box<dyn Stream> = match tls {
            true => Box::new(handshake(server.addr, &trust(&[&pair])).await.unwrap()),
            false => Box::new(patiently(TcpStream::connect(server.addr)).await.unwrap()),
        };
        let (sender, connection) = patiently(h2::client::handshake(stream)).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async { drop(connection.await) });
        let mut requests = Vec::new();
        for _ in 0..8 {
            let mut sender = patiently(sender.clone().ready()).await.unwrap();
            let request = Request::post("http://test/v1/predict").header("content-type", "application/json");
            let (response, mut upload) = sender.send_request(request.body(()).unwrap(), false).unwrap();
            upload.send_data(bytes::Bytes::from_static(br#"{"input":"#), false).unwrap();
            requests.push((response, upload));
        }
        // All of them have been seen once a later one is answered.
        let mut last = patiently(sender.clone().ready()).await.unwrap();
        let (probe, _) = last.send_request(Request::get("http://test/healthz").body(()).unwrap(), true).unwrap();
        assert_eq!(patiently(probe).await.unwrap().status(), 200);
        server.signal("TERM");
        // The farewell is heard while they are still sending.
        let told = async {
            while let Ok(ready) = sender.clone().ready().await {
                drop(ready);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        patiently(told).await;
        for (_, upload) in &mut requests {
            upload.send_data("[4]}".into(), true).unwrap();
        }
        for (response, _) in requests {
            let mut response = patiently(response).await.unwrap();
            assert_eq!(response.status(), 200);
            assert!(response.headers().get("connection").is_none());
            let mut body = Vec::new();
            while let Some(data) = patiently(response.body_mut().data()).await {
                body.extend_from_slice(&data.unwrap());
            }
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["prediction"], json!([8.0]));
        }
        patiently(driver.join_next()).await.unwrap().unwrap();
        assert_eq!(server.ended().code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_callers_of_both_protocols_do_not_hold_up_the_stop() {
    let pair = Pair::new();
    let settings = [("server.header_timeout", "600s"), ("drain.timeout", "600s")];
    for tls in [false, true] {
        let settings = if tls { [&pair.settings()[..], &settings].concat() } else { settings.to_vec() };
        let mut server = Server::start(&mut serve(&settings));
        let mut silent = Vec::new();
        for bytes in ["", "GET /healthz HT", "PRI * HTTP/2.0\r\n\r\nS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let mut stream = patiently(TcpStream::connect(server.addr)).await.unwrap();
            if tls && bytes.len() > 10 {
                let mut stream = handshake(server.addr, &trust(&[&pair])).await.unwrap();
                stream.write_all(bytes.as_bytes()).await.unwrap();
                silent.push(stream.into_inner().0);
            }
            stream.write_all(bytes.as_bytes()).await.unwrap();
            silent.push(stream);
        }
        server.signal("TERM");
        assert_eq!(server.ended().code(), Some(0), "TLS: {tls}");
        drop(silent);
    }
}

/// Either of two kinds.
trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Stream for S {}
