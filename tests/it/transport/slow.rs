//! Callers in numbers that send one byte a second.

use std::time::{Duration, Instant};

use hyper::Request;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
};

use super::{
    client::{Client, patiently},
    serve,
};
use crate::support::Server;

/// What the slow ones get.
const TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_slow_callers_hold_up_nobody_and_are_cut_off() {
    let server = Server::start(&mut serve(&[("server.header_timeout", "10s"), ("server.body_timeout", "10s")]));
    let addr = server.addr;
    let mut slow = JoinSet::new();
    for n in 0..500 {
        let head =
            "POST /v1/predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n";
        // Half of them are slow with the head, half with the body.
        let (at_once, slowly) = if n % 2 == 0 { (String::new(), head) } else { (format!("{head}\r\n"), "        ") };
        let stream = patiently(TcpStream::connect(addr)).await.unwrap();
        slow.spawn(trickle(stream, at_once, slowly));
    }
    let (done, honest) = watch::channel(false);
    let mut others = JoinSet::new();
    for n in 0..4 {
        let honest = honest.clone();
        others.spawn(async move {
            let (mut answered, mut longest) = (0, Duration::ZERO);
            let mut kept = Client::http1(addr).await;
            while !*honest.borrow() {
                let asked = Instant::now();
                let mut new = if n % 2 == 0 { Some(Client::http2(addr).await) } else { None };
                let answer = new.as_mut().unwrap_or(&mut kept).post("/v1/predict", &json!({"input": [n]})).await;
                assert_eq!(answer.status, 200);
                longest = longest.max(asked.elapsed());
                answered += 1;
                // They are no load, they want to be served.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (answered, longest)
        });
    }
    let mut told = Vec::new();
    while let Some(ended) = slow.join_next().await {
        let (took, text) = ended.unwrap();
        assert!(took >= TIMEOUT * 9 / 10, "{took:?}: {text}");
        told.push(text);
    }
    done.send(true).unwrap();
    // Who was heard is told why; who said half a head is not.
    let (silent, refused): (Vec<_>, Vec<_>) = told.into_iter().partition(String::is_empty);
    assert_eq!((silent.len(), refused.len()), (250, 250));
    assert!(refused.iter().all(|text| text.starts_with("HTTP/1.1 408") && text.contains("request_timeout")));
    while let Some(other) = others.join_next().await {
        let (answered, longest) = other.unwrap();
        assert!(answered > 50, "only {answered} were answered");
        // As long as that takes whoever has to wait for slow ones.
        assert!(longest < TIMEOUT, "one had to wait for {longest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_in_http2_end_with_408_and_leave_the_connection_to_others() {
    let server = Server::start(&mut serve(&[("server.body_timeout", "3s")]));
    let stream = patiently(TcpStream::connect(server.addr)).await.unwrap();
    let (sender, connection) = patiently(h2::client::handshake(stream)).await.unwrap();
    let mut slow = JoinSet::new();
    slow.spawn(async { drop(connection.await) });
    let mut requests = JoinSet::new();
    for n in 0..40 {
        let mut sender = sender.clone();
        requests.spawn(async move {
            let began = Instant::now();
            let request = Request::post("http://test/v1/predict").header("content-type", "application/json");
            let (response, mut upload) = sender.send_request(request.body(()).unwrap(), false).unwrap();
            // Those in between are good ones.
            if n % 2 == 0 {
                upload.send_data(r#"{"input":[1]}"#.into(), true).unwrap();
                return (response.await.unwrap().status(), began.elapsed());
            }
            let sending = async {
                while upload.send_data(" ".into(), false).is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                std::future::pending().await
            };
            tokio::select! {
                response = patiently(response) => (response.unwrap().status(), began.elapsed()),
                () = sending => unreachable!(),
            }
        });
    }
    let mut statuses = Vec::new();
    while let Some(done) = requests.join_next().await {
        let (status, took) = done.unwrap();
        statuses.push(status.as_u16());
        assert!(status == 200 || took >= Duration::from_millis(2900), "{status} came after {took:?}");
    }
    statuses.sort();
    assert_eq!(statuses, [[200; 20], [408; 20]].concat());
}

/// Says something at once, and then one byte a second; how long that was allowed, and what was answered.
async fn trickle(mut stream: TcpStream, at_once: String, slowly: &str) -> (Duration, String) {
    let began = Instant::now();
    stream.write_all(at_once.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let sending = async {
        for byte in slowly.as_bytes() {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        std::future::pending().await
    };
    let mut answer = Vec::new();
    tokio::select! {
        // A reset is an end as well.
        _ = patiently(read.read_to_end(&mut answer)) => {}
        () = sending => {}
    }
    (began.elapsed(), String::from_utf8(answer).unwrap())
}
