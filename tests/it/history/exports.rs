//! Exports that are read slowly, and what they leave to others.

use std::time::Duration;

use bytesize::ByteSize;
use reqwest::StatusCode;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{Database, until_stored};
use crate::support::{TestApp, eventually};

/// More rows than the buffers of two sockets hold.
const ROWS: usize = 8000;

async fn full() -> (Database, TestApp) {
    let database = Database::sqlite();
    let app = database.app_with(|config| {
        // An export takes more than all requests together.
        config.server.body_limit = ByteSize::mib(1);
        config.server.bodies_limit = ByteSize::mib(6);
        config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let app = app.await;
    for batch in 0..ROWS / 1000 {
        let inputs: Vec<_> = (0..1000).map(|item| vec![batch * 1000 + item; 150]).collect();
        let (status, body) = app.post("/v1/predict_batch", json!({"model": "doubler", "inputs": inputs})).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    until_stored(&app, ROWS).await;
    (database, app)
}

/// Asks for all rows, and takes the head of the answer alone.
async fn export(app: &TestApp, caller: &str) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream = socket.connect(app.addr).await.unwrap();
    let request =
        format!("GET /v1/predictions HTTP/1.1\r\nHost: test\r\nAccept: text/csv\r\nX-Forwarded-For: {caller}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    let reading = tokio::time::timeout(Duration::from_secs(30), stream.read_exact(&mut status));
    reading.await.expect("nothing came for 30 s").unwrap();
    (stream, String::from_utf8(status.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_that_are_read_slowly_take_no_room_from_others() {
    let (_database, app) = full().await;
    let mut open = Vec::new();
    for expected in ["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 503"] {
        let (stream, status) = export(&app, "192.0.2.1").await;
        assert_eq!(status, expected, "{} exports of one caller are open", open.len());
        open.push(stream);
    }
    // Another caller's, and predictions of anybody.
    let (other, status) = export(&app, "192.0.2.2").await;
    assert_eq!(status, "HTTP/1.1 200");
    for number in 0..20 {
        app.predict(json!({"model": "doubler", "input": vec![number; 20_000]})).await;
    }
    drop((open, other));
    eventually("the room is free again", async || export(&app, "192.0.2.1").await.1 == "HTTP/1.1 200").await;
}
