//! The split service: API servers that load nothing, model workers, and the Redis between them, each of which may go.

mod answers;
mod chaos;
mod dead;
mod death;
mod flood;
mod forged;
mod metrics;
mod redis;
mod stats;
mod text;
mod trace;

use std::{path::Path, process::Command};

use glassbox::config::{CacheMode, Config, Role};
use serde_json::{Value, json};

use crate::support::{
    Metrics, PATIENCE, Redis, Server, TestApp, TestAppBuilder, bundled, eventually, glassbox, onnxruntime, variable,
};

/// An API server in this process. Nothing is known from before: every prediction goes through the queue.
pub async fn api(redis: &Redis) -> TestApp {
    api_with(redis, |_| {}).await
}

async fn api_with(redis: &Redis, change: impl FnOnce(&mut Config)) -> TestApp {
    let builder = TestAppBuilder::new(|config| {
        config.server.role = Role::Api;
        config.redis.url = redis.url();
        config.cache.mode = CacheMode::Off;
        // A busy machine keeps this.
        config.queue.timeout = PATIENCE / 4;
        config.server.request_timeout = 5 * PATIENCE;
        config.runtime.max_queue_wait = PATIENCE / 2;
        config.rate_limit.enabled = false;
        change(config);
    });
    builder.start().await
}

/// A worker's command, with what is common to all of them.
fn worker_command(redis: &Redis) -> Command {
    let mut command = glassbox(&["worker", "--listen", "127.0.0.1:0"]);
    command.env(variable("redis.url"), redis.url());
    command.env(variable("models.repository"), bundled());
    command.env(variable("runtime.onnxruntime_path"), onnxruntime());
    command.env(variable("queue.claim_after"), "1s");
    command.env(variable("queue.timeout"), "30s");
    // What it holds is some seconds of work, or many on a busy machine.
    command.env(variable("drain.timeout"), "600s");
    command.env(variable("telemetry.log_format"), "json");
    command
}

/// A worker that serves the bundled models.
pub fn worker(redis: &Redis) -> Server {
    Server::start(&mut worker_command(redis))
}

/// A worker that serves one graph, with one session.
fn worker_of(redis: &Redis, graph: &Path) -> Server {
    Server::start(&mut command_of(redis, graph))
}

/// A worker that serves the models of a folder.
pub fn worker_of_repository(redis: &Redis, folder: &Path) -> Server {
    Server::start(worker_command(redis).env(variable("models.repository"), folder).env(variable("models.default"), ""))
}

/// Waits until a worker serves a model.
pub async fn until_served(api: &TestApp, model: &str) {
    until_workers(api, model, 1).await;
}

fn command_of(redis: &Redis, graph: &Path) -> Command {
    let mut command = worker_command(redis);
    command.env(variable("models.repository"), "").env(variable("models.files"), graph);
    command.env(variable("models.default"), "").env(variable("runtime.threads"), "1");
    command
}

/// Waits until so many live workers are known.
async fn until_workers(api: &TestApp, model: &str, count: usize) {
    let series = format!("queue_workers{{model=\"{model}\"}}");
    let what = format!("{count} workers serve {model}");
    eventually(&what, async || api.series(&series) == Some(count as f64)).await;
}

/// Waits until a worker serves all bundled models.
pub async fn until_ready(api: &TestApp) {
    for model in ["toxicity", "stub", "doubler", "multi_io", "linear_regression"] {
        until_workers(api, model, 1).await;
    }
    eventually("the API server is ready", async || api.get("/readyz").await.0 == 200).await;
}

/// What became of entries in a worker.
async fn entries(worker: &Server, event: &str) -> f64 {
    let (metrics, event) = (Metrics::at(worker.addr).await, format!("event=\"{event}\""));
    // Before its models are loaded there is nothing to count.
    let begun = metrics.text().contains("worker_entries_total{");
    if begun { metrics.sum("worker_entries_total", &[&event]) } else { 0.0 }
}

/// Waits until one of `workers` has an entry, however it came to it, and returns which.
async fn holder(workers: &[Server], event: &str) -> usize {
    let mut found = 0;
    eventually("a worker holds it", async || {
        for (place, worker) in workers.iter().enumerate() {
            if entries(worker, event).await > 0.0 {
                found = place;
                return true;
            }
        }
        false
    })
    .await;
    found
}

fn doubler(input: impl Into<Value>) -> Value {
    json!({"model": "doubler", "input": input.into()})
}
