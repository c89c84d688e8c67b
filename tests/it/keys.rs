//! API keys: the commands that manage them, who is let in, and what happens when their file changes.

mod commands;
mod rejections;
mod reload;
mod secrets;
mod start;
mod whole;

use std::process::Command;

use glassbox::config::Config;
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::{KeysFile, PATIENCE, Server, TestApp, eventually, glassbox, variable};

/// One answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        Self { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    fn refusal(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

const UNAUTHENTICATED: (u16, &str) = (401, "unauthenticated");
const DENIED: (u16, &str) = (403, "permission_denied");

/// The bundled models behind the keys of `file`.
async fn app(file: &KeysFile) -> TestApp {
    app_with(file, |_| {}).await
}

async fn app_with(file: &KeysFile, change: impl FnOnce(&mut Config)) -> TestApp {
    let app = crate::support::TestAppBuilder::new(|config| {
        config.auth.keys_file = Some(file.path().to_owned());
        change(config);
    });
    let app = app.start().await;
    eventually("the models are loaded", async || app.get("/readyz").await.0 == 200).await;
    app
}

/// A request with a key, which may be none.
async fn ask(app: &TestApp, method: Method, path: &str, key: &str) -> Answer {
    Answer::of(app.request(method, path).header("X-API-Key", key)).await
}

/// A prediction of the model `model` by the owner of `key`.
async fn predict(app: &TestApp, key: &str, model: &str) -> Answer {
    let request = app.request(Method::POST, "/v1/predict").header("X-API-Key", key);
    Answer::of(request.json(&json!({"model": model, "input": [1]}))).await
}

/// A server over one small model, `model`, behind the keys of `file`.
fn serve(file: &KeysFile) -> Server {
    Server::start(&mut serve_command(file))
}

fn serve_command(file: &KeysFile) -> Command {
    let mut command = glassbox(&["serve", "--model", "model/doubler/1/model.onnx"]);
    command.env(variable("server.listen"), "127.0.0.1:0").env(variable("auth.keys_file"), file.path());
    // Load without a rest, not quotas, is what these tests are about.
    command.env(variable("rate_limit.enabled"), "false");
    command
}

/// A client of a server in a process of its own.
#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    fn of(server: &Server) -> Self {
        Self { http: reqwest::Client::new(), url: format!("http://{}", server.addr) }
    }

    /// The status of a prediction.
    async fn predict(&self, key: &str) -> u16 {
        let request = self.http.post(format!("{}/v1/predict", self.url)).bearer_auth(key);
        request.json(&json!({"input": [1]})).send().await.unwrap().status().as_u16()
    }

    /// Asks until the status is `expected`; returns how long that took.
    async fn until(&self, key: &str, expected: u16) -> std::time::Duration {
        let started = std::time::Instant::now();
        while self.predict(key).await != expected {
            assert!(started.elapsed() < PATIENCE, "not {expected} within {PATIENCE:?}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        started.elapsed()
    }
}
