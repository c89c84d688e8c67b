//! What a row holds.

use glassbox::config::HistoryMode;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Database, double, each, list, rows, until_stored};
use crate::support::{KeysFile, TestApp, eventually, free};

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_is_found_by_its_request_with_what_its_caller_was_told() {
    for database in Database::both().await {
        let file = KeysFile::new();
        let key = file.create(&["--scope", "predict", "--scope", "history"]);
        let app = database.app_with(|config| config.auth.keys_file = Some(file.path().to_owned())).await;
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let mut answers = Vec::new();
        for text in ["you are awful", "you are awful", "have a lovely day"] {
            let request = app.request(Method::POST, "/v1/predict").bearer_auth(&key.text);
            let request = request.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
            answers.push(TestApp::json(request.json(&json!({"text": text}))).await.1);
        }
        until_stored(&app, 3).await;
        let mut found = Vec::new();
        for answer in &answers {
            let path = format!("/v1/predictions/{}", answer["id"].as_str().unwrap());
            let (status, row) = TestApp::json(app.request(Method::GET, &path).bearer_auth(&key.text)).await;
            assert_eq!(status, StatusCode::OK, "{row}");
            for member in ["model", "model_version", "provider", "prediction", "cached", "latency_ms"] {
                assert_eq!(row[member], answer[member], "{member}: {row}");
            }
            assert_eq!((&row["request_id"], &row["trace_id"]), (&answer["id"], &json!(trace)));
            assert_eq!(row["label"], answer["prediction"]["label"]);
            assert_eq!(row["confidence"], answer["prediction"]["confidence"]);
            assert_eq!(row["key_id"], json!(key.id));
            assert_eq!((&row["batch_id"], &row["item"], row.get("input")), (&Value::Null, &Value::Null, None));
            let own = format!("/v1/predictions/{}", row["id"].as_str().unwrap());
            assert_eq!(TestApp::json(app.request(Method::GET, &own).bearer_auth(&key.text)).await.1, row);
            found.push(row);
        }
        assert_eq!(found[1]["cached"], true);
        let hashes = each(&found, "input_hash");
        assert!(hashes[0] == hashes[1] && hashes[1] != hashes[2], "{hashes:?}");
        assert!(found[0]["id"].as_str() < found[2]["id"].as_str(), "ids are in the order of time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_a_row_per_item() {
    for database in Database::both().await {
        let app = database.app().await;
        let (_, answer) = app.post("/v1/predict_batch", json!({"model": "doubler", "inputs": [[1], [2], [1]]})).await;
        until_stored(&app, 3).await;
        let mut rows = list(&app, &format!("batch_id={}", answer["id"].as_str().unwrap())).await;
        rows.reverse();
        let told: Vec<_> = rows.iter().map(|row| (&row["item"], &row["prediction"], &row["batch_id"])).collect();
        let expected = [json!([2.0]), json!([4.0]), json!([2.0])];
        let items = [json!(0), json!(1), json!(2)];
        for (index, told) in told.into_iter().enumerate() {
            assert_eq!(told, (&items[index], &expected[index], &answer["id"]));
        }
        // A request for several has no single row.
        let (status, body) = app.get(&format!("/v1/predictions/{}", answer["id"].as_str().unwrap())).await;
        assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("prediction_not_found")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_kept_only_where_they_are_asked_for_and_long_values_never() {
    let database = Database::sqlite();
    let app = database.app_with(|config| {
        config.history.store_inputs = true;
        config.history.value_limit = bytesize::ByteSize::kib(1);
    });
    let app = app.await;
    let long: Vec<f64> = (0..600).map(f64::from).collect();
    for body in [
        json!({"text": "say \"no\" = ü"}),
        json!({"model": "doubler", "input": [1, 2.5]}),
        json!({"model": "multi_io", "input": {"amount": [550.0, 0.0], "category": [1]}}),
        json!({"model": "doubler", "input": long}),
        json!({"text": "x".repeat(5000)}),
    ] {
        assert_eq!(app.post("/v1/predict", body.clone()).await.0, StatusCode::OK, "{body}");
    }
    until_stored(&app, 5).await;
    let mut rows = list(&app, "").await;
    rows.reverse();
    assert_eq!(rows[0]["input"], "say \"no\" = ü");
    assert_eq!(rows[1]["input"], json!([1, 2.5]));
    assert_eq!(rows[2]["input"], json!({"amount": [550.0, 0.0], "category": [1]}));
    assert_eq!((rows[3].get("input"), &rows[3]["prediction"]), (None, &Value::Null));
    assert_eq!((rows[4].get("input"), rows[4]["label"].is_string()), (None, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_that_is_used_twice_costs_no_row() {
    for database in Database::both().await {
        let app = database.app().await;
        for number in 0..3 {
            double(&app, number, "again").await;
        }
        until_stored(&app, 3).await;
        assert_eq!(each(&list(&app, "").await, "request_id"), ["again"; 3]);
        let (_, newest) = app.get("/v1/predictions/again").await;
        assert_eq!(newest["prediction"], json!([4.0]));
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn files_are_nobody_elses_business_wherever_they_lie() {
    use std::{fs, os::unix::fs::PermissionsExt};
    let [kept, away] = [Database::sqlite(), Database::sqlite()];
    for database in [&kept, &away] {
        // Folders of somebody else's, that everybody may look into.
        for folder in [database.file().parent().unwrap().to_owned(), database.spool()] {
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let stored = kept.app().await;
    double(&stored, 1, "a").await;
    until_stored(&stored, 1).await;
    let spooled = away
        .app_with(|config| {
            let [nobody] = free();
            config.history.mode = HistoryMode::Postgres;
            config.history.postgres_url = format!("postgres://glassbox@{nobody}/glassbox");
        })
        .await;
    double(&spooled, 1, "a").await;
    eventually("the row is in the spool", async || rows(&spooled, "spooled") == 1.0).await;
    let mut found = 0;
    for folder in [kept.file().parent().unwrap().to_owned(), away.spool()] {
        for file in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}: {mode:o}", file.path().display());
            found += 1;
        }
    }
    // The database, its log and that log's index; a segment and the lock.
    assert_eq!(found, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_leave_no_row_and_where_no_history_is_kept_there_is_none_to_ask() {
    let database = Database::sqlite();
    let app = database.app().await;
    for body in [json!({"text": ""}), json!({"model": "nobody", "input": 1}), json!({"model": "doubler", "text": "a"})]
    {
        assert_ne!(app.post("/v1/predict", body).await.0, StatusCode::OK);
    }
    double(&app, 1, "good").await;
    until_stored(&app, 1).await;
    assert_eq!(each(&list(&app, "").await, "request_id"), ["good"]);
    let without = TestApp::start().await;
    assert_eq!(without.get("/v1/predictions").await.0, StatusCode::NOT_FOUND);
    assert_eq!(without.get("/v1/predictions/good").await.1["code"], "not_found");
}
