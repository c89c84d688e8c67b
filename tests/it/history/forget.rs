//! Who sees what, and how it ends: by wish, by age, by number.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Database, double, each, list, rows, until_stored};
use crate::support::{Key, KeysFile, TestApp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_sees_its_own_predictions_and_an_admin_those_of_all() {
    for database in Database::both().await {
        let file = KeysFile::new();
        let [anna, ben] = [(); 2].map(|()| file.create(&["--scope", "predict", "--scope", "history"]));
        let admin = file.create(&["--scope", "history", "--scope", "admin"]);
        let app = database.app_with(|config| config.auth.keys_file = Some(file.path().to_owned())).await;
        predict(&app, &anna, "of-anna").await;
        predict(&app, &ben, "of-ben").await;
        until_stored(&app, 2).await;
        assert_eq!(seen(&app, &anna, "").await, ["of-anna"]);
        assert_eq!(seen(&app, &ben, "").await, ["of-ben"]);
        assert_eq!(seen(&app, &admin, "").await, ["of-ben", "of-anna"]);
        assert_eq!(seen(&app, &admin, &format!("key={}", anna.id)).await, ["of-anna"]);
        assert_eq!(seen(&app, &anna, &format!("key={}", anna.id)).await, ["of-anna"]);
        let (status, body) = ask(&app, Method::GET, &format!("/v1/predictions?key={}", ben.id), &anna).await;
        assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("permission_denied")));
        // Another's is not there, by either id.
        let (_, all) = ask(&app, Method::GET, "/v1/predictions", &admin).await;
        for id in ["of-ben", all["predictions"][0]["id"].as_str().unwrap()] {
            let path = format!("/v1/predictions/{id}");
            assert_eq!(ask(&app, Method::GET, &path, &anna).await.1["code"], "prediction_not_found");
            assert_eq!(ask(&app, Method::GET, &path, &admin).await.1["request_id"], "of-ben");
        }
        let forget = format!("/v1/predictions?key={}", anna.id);
        assert_eq!(ask(&app, Method::DELETE, &forget, &anna).await.0, StatusCode::FORBIDDEN);
        assert_eq!(seen(&app, &admin, "").await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_gone_also_when_it_was_not_written_yet() {
    for database in Database::both().await {
        let file = KeysFile::new();
        let [anna, ben] = [(); 2].map(|()| file.create(&["--scope", "predict"]));
        let admin = file.create(&["--scope", "history", "--scope", "admin"]);
        let app = database.app_with(|config| {
            config.auth.keys_file = Some(file.path().to_owned());
            // They are still in memory when they are to be forgotten.
            config.history.flush_interval = Duration::from_secs(600);
        });
        let app = app.await;
        for number in 0..5 {
            predict(&app, &anna, &format!("anna-{number}")).await;
            predict(&app, &ben, &format!("ben-{number}")).await;
        }
        assert_eq!(rows(&app, "stored") + rows(&app, "spooled"), 0.0);
        let (status, body) = ask(&app, Method::DELETE, &format!("/v1/predictions?key={}", anna.id), &admin).await;
        assert_eq!((status, body), (StatusCode::OK, json!({"deleted": 5})));
        let left = seen(&app, &admin, "").await;
        assert_eq!(left, ["ben-4", "ben-3", "ben-2", "ben-1", "ben-0"]);
        let (_, rows) = ask(&app, Method::GET, "/v1/predictions", &admin).await;
        let time = rows["predictions"][1]["time"].as_str().unwrap().to_owned();
        let (_, body) =
            ask(&app, Method::DELETE, &format!("/v1/predictions?until={time}&key={}", ben.id), &admin).await;
        let deleted = body["deleted"].as_u64().unwrap();
        // Times are told apart by their millisecond.
        assert!((1..=3).contains(&deleted), "{body}");
        assert_eq!(seen(&app, &admin, "").await.len() as u64, 5 - deleted);
        let (status, _) = ask(&app, Method::DELETE, "/v1/predictions", &admin).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "what is meant has to be said");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_too_old_or_too_many_are_deleted() {
    for database in Database::both().await {
        let app = database.app().await;
        for number in 0..50 {
            double(&app, number, &format!("{number}")).await;
        }
        until_stored(&app, 50).await;
        app.stopped().await.unwrap();
        let app = database.app_with(|config| config.history.retain_rows = 10).await;
        eventually("ten are left", async || list(&app, "").await.len() == 10).await;
        assert_eq!(each(&list(&app, "").await, "request_id")[9], "40");
        app.stopped().await.unwrap();
        let app = database.app_with(|config| config.history.retain_for = Some(Duration::from_millis(1))).await;
        eventually("none is left", async || list(&app, "").await.is_empty()).await;
    }
}

async fn ask(app: &TestApp, method: Method, path: &str, key: &Key) -> (StatusCode, serde_json::Value) {
    TestApp::json(app.request(method, path).bearer_auth(&key.text)).await
}

async fn predict(app: &TestApp, key: &Key, request_id: &str) {
    let request = app.request(Method::POST, "/v1/predict").bearer_auth(&key.text).header("X-Request-Id", request_id);
    let (status, body) = TestApp::json(request.json(&json!({"model": "doubler", "input": [1]}))).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

/// The request ids of what a key sees.
async fn seen(app: &TestApp, key: &Key, query: &str) -> Vec<String> {
    let (status, body) = ask(app, Method::GET, &format!("/v1/predictions?{query}"), key).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    each(body["predictions"].as_array().unwrap(), "request_id").into_iter().map(str::to_owned).collect()
}
