//! What is dear to make is made once for all who ask within a moment.

use std::{collections::BTreeSet, time::Instant};

use futures_util::future::join_all;
use reqwest::Method;

use crate::support::TestApp;

/// The least time between the beginnings of two renderings.
const PAUSE_MS: u128 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_ask_at_once_get_one_rendering_of_the_metrics() {
    let app = TestApp::start().await;
    let began = Instant::now();
    let ask = async || app.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let mut renderings = BTreeSet::new();
    for _ in 0..10 {
        renderings.extend(join_all((0..20).map(|_| ask())).await);
    }
    // A pause lies between the beginnings of two. Each differs from the one before: it counts more requests.
    let most = began.elapsed().as_millis() / PAUSE_MS + 2;
    assert!(renderings.len() as u128 <= most, "{} renderings of at most {most}", renderings.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_answer_is_not_older_than_the_request_for_it() {
    let app = TestApp::start().await;
    for seen in 1..4 {
        app.predict(serde_json::json!({"model": "doubler", "input": [seen]})).await;
        // Anything that asks, so that there is an answer to be taken again.
        app.request(Method::GET, "/v1/stats").send().await.unwrap();
        app.predict(serde_json::json!({"model": "doubler", "input": [-seen]})).await;
        assert_eq!(app.get("/v1/stats").await.1["predictions"], 2 * seen);
    }
}
