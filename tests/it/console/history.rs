//! What was predicted, looked up: filters, pages, and what is known of one row.

use serde_json::json;

use super::{FAILED_FETCH, console, section};
use crate::support::{Browser, KeysFile, TestApp, eventually};

/// A server that keeps what it predicts in a file of its own.
async fn keeping(folder: &std::path::Path, keys: Option<&KeysFile>) -> TestApp {
    TestApp::with(|config| {
        config.history.mode = glassbox::config::HistoryMode::Sqlite;
        config.history.sqlite_path = folder.join("predictions.db");
        config.history.spool_path = folder.join("spool");
        config.history.flush_interval = std::time::Duration::from_millis(100);
        config.auth.keys_file = keys.map(|keys| keys.path().to_owned());
    })
    .await
}

async fn until_kept(app: &TestApp, rows: f64) {
    let stored = || app.series("history_rows_total{result=\"stored\"}").unwrap();
    eventually("all rows are kept", async || stored() >= rows).await;
}

async fn show(browser: &Browser) {
    browser.click("#past [type=submit]").await;
}

async fn until_rows(browser: &Browser, rows: u64) {
    eventually(&format!("{rows} rows are seen"), async || browser.count("#predictions .record").await == rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_are_found_by_what_they_were_and_opened_for_all_that_is_known() {
    let folder = tempfile::TempDir::new().unwrap();
    let app = keeping(folder.path(), None).await;
    for text in ["you are awful", "have a lovely day", "have a lovely day"] {
        app.predict(json!({"model": "toxicity", "text": text})).await;
    }
    app.predict(json!({"model": "doubler", "input": [21]})).await;
    until_kept(&app, 4.0).await;
    let browser = console(&app).await;
    browser.click("nav a[href='#/history']").await;
    until_rows(&browser, 4).await;
    // The latest comes first.
    browser.until_text("#predictions .record", "doubler 1").await;

    browser.fill("#past-label", "toxic").await;
    show(&browser).await;
    until_rows(&browser, 1).await;
    browser.click("#predictions summary").await;
    browser.until_text("#predictions .inside", "Hash of the input").await;
    let inside = browser.text("#predictions .inside").await;
    assert!(inside.contains("toxicity 1") && inside.contains("Computed") && inside.contains(" %"), "{inside}");
    assert!(!inside.contains("awful"), "inputs are kept only where that is configured");

    browser.click("#past [type=reset]").await;
    until_rows(&browser, 4).await;
    browser.choose("#past-cached", "true").await;
    show(&browser).await;
    until_rows(&browser, 1).await;
    browser.fill("#past-model", "doubler").await;
    show(&browser).await;
    browser.until_text("#predictions", "None, with these filters.").await;
    browser.click("#past [type=reset]").await;
    until_rows(&browser, 4).await;
    browser.fill("#past-least", "0.5").await;
    show(&browser).await;
    until_rows(&browser, 3).await;
    for (field, rows) in [("since", 0), ("until", 3)] {
        // By the clock of who looks: typing into such a field goes by what its reader's language is.
        let tomorrow = "const tomorrow = new Date(Date.now() + 86400000 - new Date().getTimezoneOffset() * 60000);
            document.querySelector(arguments[0]).value = tomorrow.toISOString().slice(0, 19)";
        browser
            .run("for (const id of ['since', 'until']) document.querySelector(`#past-${id}`).value = ''", json!([]))
            .await;
        browser.run(tomorrow, json!([format!("#past-{field}")])).await;
        show(&browser).await;
        until_rows(&browser, rows).await;
    }
    browser.fill("#past-least", "much").await;
    show(&browser).await;
    browser.until_text("#history-notice", "The request was not understood.").await;

    // The link of one row opens that one.
    browser.click("#past [type=reset]").await;
    until_rows(&browser, 4).await;
    browser.click("#predictions summary").await;
    browser.until_text("#predictions .inside", "Hash of the input").await;
    browser.click("#predictions .inside a[href^='#/history/']").await;
    until_rows(&browser, 1).await;
    browser.until_text("#predictions .inside", "42").await;
    browser.go(&section(&app.url("/console"), "history/00000000-0000-7000-8000-000000000000")).await;
    browser.until_text("#history-notice", "No prediction with this id").await;
    assert_eq!(browser.complaints(&[FAILED_FETCH]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn older_predictions_come_a_page_at_a_time() {
    let folder = tempfile::TempDir::new().unwrap();
    let app = keeping(folder.path(), None).await;
    let rows: Vec<_> = (0..120).map(|row| json!([row])).collect();
    app.post("/v1/predict_batch", json!({"model": "doubler", "inputs": rows})).await;
    until_kept(&app, 120.0).await;
    let browser = console(&app).await;
    browser.go(&section(&app.url("/console"), "history")).await;
    until_rows(&browser, 50).await;
    // What comes meanwhile moves nothing.
    app.predict(json!({"model": "doubler", "input": [1]})).await;
    until_kept(&app, 121.0).await;
    browser.click("#past-older").await;
    until_rows(&browser, 100).await;
    browser.click("#past-older").await;
    until_rows(&browser, 120).await;
    assert!(!browser.sees("#past-older").await);
    let distinct = "return new Set([...document.querySelectorAll('.record')].map((row) => row.dataset.id)).size";
    assert_eq!(browser.run(distinct, json!([])).await, 120);
    assert_eq!(browser.complaints(&[]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_history_and_a_key_without_its_scope_are_told_in_words() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    browser.go(&section(&app.url("/console"), "history")).await;
    browser.until_text("#no-history", "This server keeps no history").await;
    assert_eq!(browser.complaints(&[FAILED_FETCH]).await, Vec::<String>::new());

    let (folder, keys) = (tempfile::TempDir::new().unwrap(), KeysFile::new());
    let key = keys.create(&["--scope", "predict"]);
    let app = keeping(folder.path(), Some(&keys)).await;
    let browser = console(&app).await;
    browser.fill("#key", &key.text).await;
    browser.click("#key-form .primary").await;
    browser.until_text("#key-state", &key.id).await;
    browser.go(&section(&app.url("/console"), "history")).await;
    browser.until_text("#history-notice", "lacks the scope 'history'").await;
    assert_eq!(browser.complaints(&[FAILED_FETCH]).await, Vec::<String>::new());
}
