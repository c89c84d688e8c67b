//! What the server is doing, and what it remembers: charts and records.

use std::time::Duration;

use serde_json::json;

use super::{FAILED_FETCH, console, section};
use crate::support::{KeysFile, TestApp, eventually};

/// How often `/v1/stats` was read.
fn readings(app: &TestApp) -> f64 {
    app.series(r#"http_requests_total{method="GET",route="/v1/stats",status="200"}"#).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_are_drawn_of_what_happens_while_somebody_looks() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    assert_eq!(readings(&app), 0.0, "nobody looks at the charts yet");
    browser.go(&section(&app.url("/console"), "live")).await;
    let drawn = "return [...document.querySelectorAll('.chart')].every((chart) =>
        chart.querySelector('path.line-0').getAttribute('d').length > 10)";
    eventually("all charts have a line", async || {
        for text in ["one", "one", "two"] {
            app.predict(json!({"model": "toxicity", "text": text})).await;
        }
        browser.run(drawn, json!([])).await == true
    })
    .await;
    let charts = browser.text("#charts").await;
    for part in ["Requests", "Latency", "p99", "From the cache", "In the server", "/s", "ms", "%"] {
        assert!(charts.contains(part), "{part}: {charts}");
    }
    browser.until_text("#live-models", "toxicity 1").await;
    browser.until_text("#live-models", "of 200 answers").await;
    // A model of numbers names the one that went farthest.
    let row = |number: usize| [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0, number as f64 / 1e6];
    let rows: Vec<_> = (0..200).map(row).collect();
    app.post("/v1/predict_batch", json!({"model": "linear_regression", "inputs": rows})).await;
    browser.until_text("#live-models", "(s5)").await;

    // Who looks at something else reads nothing, but for what was on its way: in this time it would be three times.
    browser.go(&section(&app.url("/console"), "predict")).await;
    let before = readings(&app);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(readings(&app) - before <= 1.0, "it is read {} times", readings(&app) - before);
    let before = readings(&app);
    browser.go(&section(&app.url("/console"), "live")).await;
    eventually("it is read again", async || readings(&app) > before).await;
    assert_eq!(browser.complaints(&[]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_an_answer_is_a_click_away() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    browser.fill("#text", "you are awful").await;
    browser.click("#run").await;
    browser.until_text("#origin", "Computed").await;
    let id = browser.text("#record-link").await;
    let inference = browser.text("#result [data-stage=inference] .figure").await;
    browser.click("#record-link").await;
    browser.until("the record is there", "return document.querySelector('.record') !== null").await;
    assert_eq!(browser.count(&format!(".record[open][data-id=\"{id}\"]")).await, 1);
    // The same measurement, seen twice.
    assert_eq!(browser.text(".record [data-stage=inference] .figure").await, inference);
    assert!(!browser.text("#records").await.contains("awful"));

    // Failures have a list of their own, and filters find them.
    app.post("/v1/predict", json!({"model": "doubler", "input": ["x"]})).await;
    browser.click("#filters [type=reset]").await;
    browser.until_text("[data-list=failed]", "invalid input").await;
    browser.until_text("[data-list=slowest]", "/v1/predict").await;
    assert!(!browser.text("[data-list=slowest]").await.contains("/v1/models"));
    browser.click("#filter-others").await;
    browser.until_text("[data-list=slowest]", "/v1/models").await;
    browser.fill("#filter-model", "toxicity").await;
    browser.click("#filters [type=submit]").await;
    browser.until_text("[data-list=failed]", "None, with these filters.").await;
    browser.fill("#filter-id", "never-seen").await;
    browser.click("#filters [type=submit]").await;
    browser.until_text("#no-record", "not remembered").await;
    assert_eq!(browser.complaints(&[]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_the_scope_for_records_is_told_so() {
    let file = KeysFile::new();
    let key = file.create(&["--scope", "predict"]);
    let app = TestApp::with(|config| config.auth.keys_file = Some(file.path().to_owned())).await;
    let browser = console(&app).await;
    browser.fill("#key", &key.text).await;
    browser.click("#key-form .primary").await;
    browser.until_text("#key-state", &key.id).await;
    browser.go(&section(&app.url("/console"), "requests")).await;
    browser.until_text("#requests-notice", "This key may not do that.").await;
    browser.until_text("#requests-notice", "lacks the scope 'admin'").await;
    assert_eq!(browser.complaints(&[FAILED_FETCH]).await, Vec::<String>::new());
}
