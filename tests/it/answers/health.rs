//! Streams that go on for as long as their callers like have a bound.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};

use super::client::{Connection, STREAMS, from_neighbour};
use crate::{
    grpc::call::{Caller, frame},
    support::{TestApp, eventually},
};

const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// RESOURCE_EXHAUSTED
const EXHAUSTED: &str = "8";

fn call(method: &str, message: &'static [u8]) -> Request<Full<Bytes>> {
    let request = Request::post(format!("http://test{method}"));
    let request = request.header("te", "trailers").header("content-type", "application/grpc");
    request.body(Full::from(frame(message))).unwrap()
}

fn is_refused(answer: &Response<Incoming>) -> bool {
    answer.headers().get("grpc-status").is_some_and(|status| status == EXHAUSTED)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_a_bound_on_watchers_and_others_watch_beside_it() {
    let app = TestApp::start().await;
    let (mut connections, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let mut connection = Connection::open(app.addr).await;
        answers.extend(connection.heads(|| call(WATCH, b"")).await);
        connections.push(connection);
    }
    let (refused, watching): (Vec<_>, Vec<_>) = answers.into_iter().partition(is_refused);
    assert_eq!((watching.len(), refused.len()), (256, 4 * STREAMS - 256));

    let mut neighbour = Caller::over(from_neighbour(app.addr).await).await;
    // Ends at its deadline, with what it was told before: SERVING.
    let answer = neighbour.send(WATCH, &[("grpc-timeout", "1S")], frame(b"")).await;
    assert_eq!((answer.status(), &answer.body[..]), (0, &frame(&[8, 1])[..]));

    drop((watching, refused, connections));
    eventually("the address may watch again", async || {
        let mut caller = Caller::connect(app.addr).await;
        let answer = caller.send(WATCH, &[("grpc-timeout", "1S")], frame(b"")).await;
        answer.header("grpc-status") != Some(EXHAUSTED)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_reflection_have_a_bound() {
    let app = TestApp::start().await;
    let mut connection = Connection::open(app.addr).await;
    // `list_services`, the answer to which is longer than the one byte that is taken.
    let answers = connection.heads(|| call(REFLECT, &[58, 1, b'*'])).await;
    let refused = answers.iter().filter(|answer| is_refused(answer)).count();
    assert_eq!(refused, STREAMS - 32);
}
