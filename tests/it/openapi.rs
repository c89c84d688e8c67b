//! The description of the API says what the server does: a tester that knows nothing else of it finds no other answer, and
//! people can read it in a browser that reaches no other server.

use std::{path::Path, process::Command};

use glassbox::config::{Config, HistoryMode};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::support::{Browser, KeysFile, TestApp, glassbox, project, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_tester_that_knows_only_the_description_finds_no_other_answer() {
    let file = KeysFile::new();
    let key = file.create(&["--scope", "predict", "--scope", "history", "--scope", "admin", "--scope", "metrics"]);
    let app = TestApp::with(|config| {
        config.auth.keys_file = Some(file.path().to_owned());
        config.auth.public_metrics = false;
        config.rate_limit.enabled = false;
        keep_history(config, file.folder());
    })
    .await;
    let url = app.url("/openapi.json");
    let folder = tempfile::TempDir::new().unwrap();
    let packages = project().join(".python");
    assert!(packages.join("schemathesis").is_dir(), "schemathesis is missing: run 'make setup'");
    let mut command = Command::new("python3");
    command
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(project().join("tests/it/schemathesis.toml"))
        .args(["run", &url, "--max-examples", "20", "--seed", "1", "--no-color"])
        .current_dir(folder.path())
        .env("PYTHONPATH", packages)
        .env("GLASSBOX_TEST_KEY", &key.text);
    let output =
        tokio::task::spawn_blocking(move || command.output().expect("python3 is not installed")).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let (_, document) = app.get("/openapi.json").await;
    let operations: usize =
        document["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
    // It leaves out the address that it has the description from, and what its configuration says.
    let operations = operations - 2;
    assert!(told.contains(&format!("Tested: {operations}")), "not all {operations} operations were tried: {told}");
    assert!(told.contains("Stateful"), "no links were followed: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_a_request_is_answered() {
    let app = TestApp::start().await;
    let (_, document) = app.get("/openapi.json").await;
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let examples = &item["post"]["requestBody"]["content"]["application/json"]["examples"];
        for (name, example) in examples.as_object().into_iter().flatten() {
            let (status, answer) = app.post(path, example["value"].clone()).await;
            assert_eq!(status, StatusCode::OK, "{path} {name}: {answer}");
            tried += 1;
        }
    }
    assert!(tried >= 5, "{tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_what_a_server_with_keys_serves() {
    let file = KeysFile::new();
    file.create(&[]);
    let app = TestApp::with(|config| {
        config.auth.keys_file = Some(file.path().to_owned());
        keep_history(config, file.folder());
    })
    .await;
    let (_, served) = app.get("/openapi.json").await;
    let printed = run(&mut glassbox(&["openapi"]));
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let printed: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(printed, served);
    assert_eq!(printed["openapi"], "3.1.0");
    assert_eq!(printed["paths"]["/v1/predict"]["post"]["security"], json!([{"bearer": []}, {"api_key": []}]));
    // Where no keys are asked for, none are described.
    let open = TestApp::start().await.get("/openapi.json").await.1;
    assert!(open["paths"]["/v1/predict"]["post"].get("security").is_none());
    assert!(open["paths"]["/v1/predict"]["post"]["responses"].get("401").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_the_description_in_a_browser_without_another_server() {
    let app = TestApp::start().await;
    for (page, wanted, shown) in [
        ("/docs", ".opblock-summary-path", "return document.querySelectorAll('.opblock').length >= 10"),
        (
            "/redoc",
            "[data-section-id] h1",
            "return document.querySelectorAll('[data-section-id^=\"tag/\"]').length >= 10",
        ),
    ] {
        let response = app.request(Method::GET, page).send().await.unwrap();
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.contains("script-src 'sha256-") && policy.contains("connect-src 'self'"), "{policy}");
        assert!(!policy.contains("http") && !policy.contains("unsafe-eval"), "{policy}");
        let browser = Browser::open(&app.url(page)).await;
        browser.until(&format!("{page} shows the operations"), shown).await;
        assert!(browser.sees(wanted).await, "{page}");
        // ReDoc would show a logo from elsewhere, if the page let it.
        let complaints = browser.complaints(&["Loading the image 'https://cdn.redoc.ly/redoc/logo-mini.svg' violates"]);
        assert_eq!(complaints.await, Vec::<String>::new(), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_tries_out_is_answered() {
    let app = TestApp::start().await;
    let browser = Browser::open(&app.url("/docs")).await;
    let operation = "#operations-predictions-predict";
    browser.until("the operation is there", "return !!document.querySelector('#operations-predictions-predict')").await;
    browser.click(&format!("{operation} .opblock-summary-control")).await;
    browser.until("it opens", "return !!document.querySelector('#operations-predictions-predict .try-out__btn')").await;
    browser.click(&format!("{operation} .try-out__btn")).await;
    browser
        .until("it can be sent", "return !!document.querySelector('#operations-predictions-predict .execute')")
        .await;
    browser.click(&format!("{operation} .execute")).await;
    browser.until_text(&format!("{operation} .live-responses-table tbody .response-col_status"), "200").await;
    assert_eq!(browser.complaints(&[]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_can_be_switched_off() {
    let app = TestApp::with(|config| config.docs.enabled = false).await;
    for path in ["/openapi.json", "/docs", "/redoc"] {
        assert_eq!(app.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
        assert!(!app.get("/").await.1["links"].as_object().unwrap().values().any(|link| link == path));
    }
}

/// Or its routes were not there.
fn keep_history(config: &mut Config, folder: &Path) {
    config.history.mode = HistoryMode::Sqlite;
    config.history.sqlite_path = folder.join("predictions.db");
    config.history.spool_path = folder.join("spool");
}
