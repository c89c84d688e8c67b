//! What was predicted is kept, found, and forgotten, in SQLite as in PostgreSQL.

mod commands;
mod crash;
mod damage;
mod exports;
mod forget;
mod loss;
mod outage;
mod pages;
mod replaced;
mod rows;
mod shapes;

use std::path::PathBuf;

use glassbox::config::{Config, HistoryConfig, HistoryMode};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Postgres, TestApp, eventually, variable};

/// A database of the test's own, and a folder for the spool beside it.
struct Database {
    folder: TempDir,
    postgres: Option<Postgres>,
}

impl Database {
    fn sqlite() -> Self {
        Self { folder: TempDir::new().unwrap(), postgres: None }
    }

    async fn postgres() -> Self {
        Self { postgres: Some(Postgres::start().await), ..Self::sqlite() }
    }

    /// One of each kind: what is promised is promised of both.
    async fn both() -> [Self; 2] {
        [Self::sqlite(), Self::postgres().await]
    }

    fn server(&mut self) -> &mut Postgres {
        self.postgres.as_mut().unwrap()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("data/predictions.db")
    }

    fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    fn configure(&self, history: &mut HistoryConfig) {
        history.sqlite_path = self.file();
        history.spool_path = self.spool();
        history.mode = HistoryMode::Sqlite;
        if let Some(postgres) = &self.postgres {
            history.mode = HistoryMode::Postgres;
            history.postgres_url = postgres.url();
        }
    }

    /// The same for a process.
    fn variables(&self) -> Vec<(String, String)> {
        let mut settings = vec![
            ("history.sqlite_path", self.file().display().to_string()),
            ("history.spool_path", self.spool().display().to_string()),
            ("history.mode", "sqlite".to_owned()),
        ];
        if let Some(postgres) = &self.postgres {
            settings.extend([("history.mode", "postgres".to_owned()), ("history.postgres_url", postgres.url())]);
        }
        settings.into_iter().map(|(key, value)| (variable(key), value)).collect()
    }

    async fn app(&self) -> TestApp {
        self.app_with(|_| {}).await
    }

    async fn app_with(&self, change: impl FnOnce(&mut Config)) -> TestApp {
        TestApp::with(|config| {
            self.configure(&mut config.history);
            // What is told is there soon.
            config.history.flush_interval = std::time::Duration::from_millis(100);
            change(config);
        })
        .await
    }
}

/// How many rows have this result.
fn rows(app: &TestApp, result: &str) -> f64 {
    app.series(&format!("history_rows_total{{result=\"{result}\"}}")).unwrap()
}

async fn until_stored(app: &TestApp, count: usize) {
    eventually(&format!("{count} rows are stored"), async || rows(app, "stored") >= count as f64).await;
}

/// `GET /v1/predictions`; panics unless it is answered with 200.
async fn list(app: &TestApp, query: &str) -> Vec<Value> {
    page(app, query).await.0
}

/// The same with the next cursor.
async fn page(app: &TestApp, query: &str) -> (Vec<Value>, Option<String>) {
    let (status, body) = app.get(&format!("/v1/predictions?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{query}: {body}");
    let next = body["next"].as_str().map(str::to_owned);
    (body["predictions"].as_array().unwrap().clone(), next)
}

/// One prediction of the model that doubles, with a request id of the caller's.
async fn double(app: &TestApp, number: usize, request_id: &str) -> Value {
    let request = app.request(Method::POST, "/v1/predict").header("X-Request-Id", request_id);
    let (status, body) = TestApp::json(request.json(&json!({"model": "doubler", "input": [number]}))).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

/// A member of each row, in their order.
fn each<'a>(rows: &'a [Value], member: &str) -> Vec<&'a str> {
    rows.iter().map(|row| row[member].as_str().unwrap()).collect()
}
