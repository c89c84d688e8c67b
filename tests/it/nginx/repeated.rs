//! Which requests another server is asked for, and which not.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;

use super::Front;

const CALLER: [u8; 4] = [127, 0, 0, 2];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_costs_no_request() {
    let front = Front::new();
    let _server = front.start(1, &[]);
    let mut caller = front.caller(CALLER).await;
    for n in 0..50 {
        let answer = caller.post("/v1/predict", &json!({"input": [n]})).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["prediction"]), (200, &json!([f64::from(n * 2)])));
    }
    let tried = |line: &serde_json::Value| line["upstream"].as_str().is_some_and(|upstream| upstream.contains(", "));
    assert!(front.nginx.lines().iter().any(tried), "nobody was sent to the one that is not there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_that_may_have_been_run_is_not_run_again() {
    let front = Front::new();
    let _server = front.start(1, &[]);
    // Takes every request, and ends in the middle of it.
    let listener = TcpListener::bind(front.servers[0]).unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&taken);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                counting.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(b"HTTP/1.1 2");
            }
        }
    });
    let mut caller = front.caller(CALLER).await;
    let mut lost = Vec::new();
    for n in 0..400 {
        let answer = caller.post("/v1/predict", &json!({"input": [n]})).await;
        match answer.status.as_u16() {
            200 => {}
            status => lost.push((status, answer.header("x-request-id").unwrap().to_owned())),
        }
        if lost.len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!((lost.len(), taken.load(Ordering::Relaxed)), (2, 2));
    for (status, id) in lost {
        assert_eq!(status, 503);
        assert!(!front.nginx.line(&id)["upstream"].as_str().unwrap().contains(", "), "{id} was sent to both");
    }
    // What asks only is repeated.
    let mut repeated = false;
    for _ in 0..400 {
        let answer = caller.get("/v1/models").await;
        assert_eq!(answer.status, 200);
        repeated = taken.load(Ordering::Relaxed) > 2;
        if repeated {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(repeated, "nobody was sent to the broken one");
}
