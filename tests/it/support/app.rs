//! The real app on a free port, inside the test's process.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use glassbox::{
    app::App,
    config::{self, Config, Flag},
    telemetry::metrics::Metrics,
};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::{sync::oneshot, task::JoinHandle};

use super::PATIENCE;

/// Serves until it is dropped.
pub struct TestApp {
    pub addr: SocketAddr,
    client: reqwest::Client,
    metrics: Arc<Metrics>,
    stop: Option<oneshot::Sender<()>>,
    done: Option<JoinHandle<anyhow::Result<()>>>,
}

/// What an app is started with.
pub struct TestAppBuilder {
    config: Config,
}

impl TestApp {
    /// The bundled models that are there without `make models`, as `make run` serves them, ready.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Like [`start`](Self::start) with a changed configuration.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let app = TestAppBuilder::new(change).start().await;
        app.until_loaded().await;
        app
    }

    /// Waits until every model has been tried.
    pub async fn until_loaded(&self) {
        super::eventually("the models are loaded", async || {
            let reasons = self.get("/readyz").await.1["reasons"].clone();
            !reasons.as_array().unwrap().iter().any(|reason| reason["state"] == "loading")
        })
        .await;
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// The value of one series, written as it is exposed: `name{label="value"}`; `None` when there is no such series.
    pub fn series(&self, series: &str) -> Option<f64> {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(value.parse().unwrap())
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        Self::json(self.request(reqwest::Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        Self::json(self.request(reqwest::Method::POST, path).json(&body)).await
    }

    /// `POST /v1/predict`; panics unless it is answered with 200.
    pub async fn predict(&self, body: Value) -> Value {
        let (status, answer) = self.post("/v1/predict", body.clone()).await;
        assert_eq!(status, StatusCode::OK, "{body} was answered with {answer}");
        answer["prediction"].clone()
    }

    pub async fn json(request: RequestBuilder) -> (StatusCode, Value) {
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}")))
    }

    /// Waits until the app has stopped, and returns how it did.
    pub async fn stopped(mut self) -> anyhow::Result<()> {
        self.stop.take();
        self.done.take().unwrap().await.unwrap()
    }
}

impl TestAppBuilder {
    /// The configuration of `make run` on a free port, changed. Limits are too long to be met on a busy machine.
    pub fn new(change: impl FnOnce(&mut Config)) -> Self {
        let file = super::project().join("config/development.toml");
        let flags = vec![
            Flag::text("server.listen", "test", "127.0.0.1:0".to_owned()),
            Flag::text("models.repository", "test", super::bundled().display().to_string()),
            // As callers of these tests name the server.
            Flag::list("server.hosts", "test", vec!["test".to_owned()]),
            // Each test that wants a history has one of its own.
            Flag::text("history.mode", "test", "off".to_owned()),
            Flag::text("runtime.onnxruntime_path", "test", super::onnxruntime().display().to_string()),
        ];
        let mut config = config::load(&[file], flags).unwrap();
        config.server.request_timeout = PATIENCE;
        (config.server.header_timeout, config.server.body_timeout) = (PATIENCE / 2, PATIENCE / 2);
        config.runtime.max_queue_wait = PATIENCE / 2;
        change(&mut config);
        Self { config }
    }

    /// What it would be started with.
    pub fn into_config(self) -> Config {
        self.config
    }

    /// Starts the app; its models may still be loading.
    pub async fn start(self) -> TestApp {
        let app = App::build(self.config).unwrap();
        let addr = app.http_addr();
        let metrics = Arc::clone(&app.state().metrics);
        let (stop, stopped) = oneshot::channel::<()>();
        #[expect(clippy::disallowed_methods, reason = "the test stands outside of the app's lifecycle")]
        let done = tokio::spawn(app.run(async { drop(stopped.await) }, |_| {}));
        TestApp { addr, client: reqwest::Client::new(), metrics, stop: Some(stop), done: Some(done) }
    }
}

/// A configuration that serves single files only.
pub fn serve_files(config: &mut Config, files: Vec<PathBuf>) {
    config.models.repository = None;
    config.models.default = None;
    config.models.files = files;
}
