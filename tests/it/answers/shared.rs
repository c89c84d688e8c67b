//! What is dear to make is made once for all who ask within a moment.

use std::{collections::BTreeSet, time::Instant};

use futures_util::future::join_all;
use reqwest::Method;

use crate::support::TestApp;

/// How old an answer may be.
const MOMENT_MS: u128 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_ask_at_once_get_one_rendering_of_the_metrics() {
    let app = TestApp::start().await;
    let began = Instant::now();
    let ask = async || app.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let mut renderings = BTreeSet::new();
    for _ in 0..10 {
        renderings.extend(join_all((0..20).map(|_| ask())).await);
    }
    // A moment lies between the beginnings of two. Each differs from the one before: it counts more requests.
    let most = began.elapsed().as_millis() / MOMENT_MS + 2;
    assert!(renderings.len() as u128 <= most, "{} renderings, {most} moments", renderings.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_a_tenth_of_a_second_old_at_most() {
    let app = TestApp::start().await;
    for seen in 1..4 {
        app.predict(serde_json::json!({"model": "doubler", "input": [seen]})).await;
        // Anything that asks, so that there is an answer to be taken again.
        app.request(Method::GET, "/v1/stats").send().await.unwrap();
        app.predict(serde_json::json!({"model": "doubler", "input": [-seen]})).await;
        assert_eq!(app.get("/v1/stats").await.1["predictions"], 2 * seen);
    }
}
