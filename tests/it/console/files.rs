//! Many rows at once: a file that is chosen or dropped becomes a table and a download.

use serde_json::json;

use super::{FAILED_FETCH, console, section};
use crate::support::{Browser, TestApp};

async fn rows(browser: &Browser) -> Vec<Vec<String>> {
    let script = "return [...document.querySelectorAll('#file-table tbody tr')].map(
        (row) => [...row.cells].map((cell) => cell.textContent))";
    serde_json::from_value(browser.run(script, json!([])).await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_csv_becomes_a_table_and_a_download() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    browser.go(&section(&app.url("/console"), "file")).await;
    browser.choose("#model", "toxicity").await;
    let csv = "id,text,note\r\n1,\"you are awful, \"\"really\"\"\",a\r\n2,have a lovely day,\"b\nc\"\r\n3,,d\r\n4,have a lovely day,e\r\n";
    browser.choose_file("#file-input", "comments.csv", csv).await;
    browser.until_text("#file-name", "CSV, 3 columns · 4 rows").await;
    assert_eq!(browser.run("return document.querySelector('#file-column').value", json!([])).await, "1");
    browser.click("#file-start").await;
    browser.until_text("#file-count", "4 of 4 rows, 1 with a fault").await;
    let rows = rows(&browser).await;
    assert_eq!(rows[0][1..3], ["you are awful, \"really\"", "toxic"]);
    assert_eq!(rows[1][1..3], ["have a lovely day", "non_toxic"]);
    assert!(rows[2][2].contains("empty"), "{rows:?}");
    assert_eq!(rows[3][2..4], rows[1][2..4]);

    browser.click("#file-save").await;
    let saved = browser.downloaded("comments.toxicity.csv").await;
    let mut lines = saved.split("\r\n");
    assert_eq!(lines.next(), Some("id,text,note,prediction,confidence,p_non_toxic,p_toxic,cached,error"));
    assert!(lines.next().unwrap().starts_with("1,\"you are awful, \"\"really\"\"\",a,toxic,0."), "{saved}");
    assert!(lines.next().unwrap().starts_with("2,have a lovely day,\"b\nc\",non_toxic,0."), "{saved}");
    assert!(lines.next().unwrap().starts_with("3,,d,,,,,,"), "{saved}");
    // One row was refused, with those beside it, before they were sent again without it.
    assert_eq!(browser.complaints(&[FAILED_FETCH]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_lines_of_json_and_columns_of_numbers_are_understood() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    browser.go(&section(&app.url("/console"), "file")).await;
    browser.choose("#model", "doubler").await;
    browser.until_text("#model-says", "Doubles").await;
    let drop = "const data = new DataTransfer();
        data.items.add(new File([arguments[0]], 'lists.jsonl'));
        const event = new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true });
        document.querySelector('#drop').dispatchEvent(event)";
    browser.run(drop, json!(["[1, 2]\n{\"input\": [3]}\nnonsense\n"])).await;
    browser.until_text("#file-name", "JSON lines · 3 rows").await;
    browser.click("#file-start").await;
    browser.until_text("#file-count", "3 of 3 rows, 1 with a fault").await;
    let found = rows(&browser).await;
    assert_eq!((&*found[0][2], &*found[1][2], &*found[2][2]), ("[2,4]", "[6]", "This line is no JSON."));

    browser.choose("#model", "multi_io").await;
    browser.until_text("#model-says", "parcel").await;
    browser.choose_file("#file-input", "parcels.csv", "amount[0];amount[1];category\n550;0;1\n120;0;x\n").await;
    browser.until_text("#file-name", "CSV, 3 columns · 2 rows").await;
    browser.click("#file-start").await;
    browser.until_text("#file-count", "2 of 2 rows, 1 with a fault").await;
    let found = rows(&browser).await;
    assert!(found[0][2].contains("medium") && found[1][2].contains("This is no number."), "{found:?}");
    assert_eq!(browser.complaints(&[]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_is_told_in_words() {
    let app = TestApp::start().await;
    let browser = console(&app).await;
    browser.go(&section(&app.url("/console"), "file")).await;
    browser.until_text("#file-note", "up to 5 MiB and 10,000 rows").await;
    browser.choose_file("#file-input", "rows.csv", &"a text\n".repeat(10_001)).await;
    browser.until_text("#file-notice", "rows.csv has 10,001 rows").await;
    browser.choose_file("#file-input", "bytes.csv", &"a".repeat(5 * 1024 * 1024 + 1)).await;
    browser.until_text("#file-notice", "at most 5 MiB").await;
    browser.choose_file("#file-input", "none.csv", "").await;
    browser.until_text("#file-notice", "none.csv has no rows").await;
    assert!(!browser.sees("#file-start").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_more_rows_than_the_quota_waits_and_goes_on() {
    let app = TestApp::with(|config| {
        config.rate_limit.enabled = true;
        config.rate_limit.address_rate = 10;
        config.rate_limit.address_burst = 40;
    })
    .await;
    let browser = console(&app).await;
    browser.go(&section(&app.url("/console"), "file")).await;
    let lines: Vec<_> = (0..60).map(|n| format!("\"text number {n}\"")).collect();
    browser.choose_file("#file-input", "texts.jsonl", &lines.join("\n")).await;
    browser.until_text("#file-name", "60 rows").await;
    browser.click("#file-start").await;
    browser.until_text("#file-count", "60 of 60 rows").await;
    assert!(rows(&browser).await.iter().all(|row| row[4] == "model"));
    let refused = r#"http_requests_total{method="POST",route="/v1/predict_batch",status="429"}"#;
    assert!(app.series(refused).unwrap() >= 1.0, "the quota was never met");
    assert_eq!(browser.complaints(&[FAILED_FETCH]).await, Vec::<String>::new());
}
