//! One address, many streams, no byte taken.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};

use super::client::{Connection, STREAMS, from_neighbour};
use crate::{
    support::{TestApp, eventually},
    transport::client::Client,
};

/// What the answers may hold that one address leaves unread.
const SHARE: usize = 16 * 1024 * 1024;

fn metrics() -> Request<Full<Bytes>> {
    Request::get("http://test/metrics").body(Full::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_address_leaves_unread_has_a_bound_and_others_get_their_answers() {
    let app = TestApp::start().await;
    let size = Client::http1(app.addr).await.get("/metrics").await.body.len();
    let mut connections = Vec::new();
    let (mut held, mut refused) = (Vec::new(), 0);
    // Twice what fits.
    for _ in 0..(2 * SHARE / size).div_ceil(STREAMS) {
        let mut connection = Connection::open(app.addr).await;
        for answer in connection.heads(metrics).await {
            match answer.status() {
                StatusCode::OK => held.push(answer),
                status => {
                    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
                    assert!(answer.headers().contains_key("retry-after"));
                    refused += 1;
                }
            }
        }
        connections.push(connection);
    }
    assert!(refused > 0, "{} answers of {size} bytes are held", held.len());
    assert!(held.len() > SHARE / size / 2, "{} answers of {size} bytes, {refused} refused", held.len());

    // A text that stays costs nothing by being lent.
    assert_eq!(Client::http1(app.addr).await.get("/docs").await.status, StatusCode::OK);
    let mut neighbour = Client::one(from_neighbour(app.addr).await).await.unwrap();
    assert_eq!(neighbour.get("/metrics").await.status, StatusCode::OK);

    drop((held, connections));
    eventually("the address has its share again", async || {
        Client::http1(app.addr).await.get("/metrics").await.status == StatusCode::OK
    })
    .await;
}
