//! Who runs the models of a server that runs none itself.

use super::{console, section};
use crate::{
    split,
    support::{Redis, TestApp, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_what_they_serve_are_seen_until_they_go_and_so_is_a_lost_redis() {
    let mut redis = Redis::start();
    let mut worker = split::worker(&redis);
    let app = split::api(&redis).await;
    split::until_ready(&app).await;
    let browser = console(&app).await;
    browser.go(&section(&app.url("/console"), "live")).await;
    for text in ["toxicity 1", "doubler 1", "live workers", "up for"] {
        browser.until_text("#live-workers", text).await;
    }
    assert_eq!(browser.count("#live-workers tbody tr:has(code)").await, 1);
    assert!(!browser.sees("#queue-trouble").await && !browser.sees("#dead-letters").await);
    browser.resize(360, 740).await;
    let width = browser.run("return document.documentElement.scrollWidth", serde_json::json!([])).await;
    assert_eq!(width, 360, "nothing is wider than a phone");
    browser.resize(1280, 800).await;

    redis.ask(&["XADD", "glassbox:queue1:dead", "*", "e", "given up"]);
    browser.until_text("#dead-letters", "1 request was given up").await;
    worker.signal("KILL");
    worker.ended();
    browser.until_text("#no-workers", "No worker lives").await;
    browser.until_text("#live-workers", "none").await;

    redis.kill();
    browser.until_text("#queue-trouble", "it cannot be reached").await;
    redis.restart(&[]);
    eventually("all is well again", async || !browser.sees("#queue-trouble").await).await;
    assert_eq!(browser.complaints(&[]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_runs_its_models_itself_tells_of_no_workers() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    browser.go(&section(&app.url("/console"), "live")).await;
    browser.until_text("#live-models", "toxicity 1").await;
    assert!(!browser.sees("#live-workers").await);
    assert_eq!(browser.complaints(&[]).await, Vec::<String>::new());
}
