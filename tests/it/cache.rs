//! Known answers: which inputs share one, who computes it, how long it is kept, and what a caller is told about it.

mod flights;
mod forged;
mod headers;
mod keys;
mod tiers;

use glassbox::config::{CacheMode, Config};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{Loop, Metrics, PATIENCE, Redis, TestApp, eventually};

/// Answers in `mode`, with a timeout that a busy machine keeps.
fn keep_in(config: &mut Config, mode: CacheMode, redis: &Redis) {
    config.cache.mode = mode;
    config.redis.url = redis.url();
    config.redis.timeout = PATIENCE / 4;
}

/// An answer, with what its headers say about the cache.
#[derive(Debug)]
struct Seen {
    status: u16,
    body: Value,
    cache_status: Option<String>,
    age: Option<u64>,
}

impl Seen {
    async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (cache_status, age) = (header("cache-status"), header("age").map(|age| age.parse().unwrap()));
        Self { status: response.status().as_u16(), cache_status, age, body: response.json().await.unwrap() }
    }

    fn says(&self, words: &str) -> bool {
        self.cache_status.as_deref().is_some_and(|status| status.contains(words))
    }
}

async fn predict(app: &TestApp, body: &Value) -> Seen {
    Seen::of(app.request(Method::POST, "/v1/predict").json(body)).await
}

async fn predict_with(app: &TestApp, cache_control: &str, body: &Value) -> Seen {
    Seen::of(app.request(Method::POST, "/v1/predict").header("Cache-Control", cache_control).json(body)).await
}

async fn predict_batch(app: &TestApp, body: &Value) -> Seen {
    Seen::of(app.request(Method::POST, "/v1/predict_batch").json(body)).await
}

/// How many items came from `source`.
async fn predicted(app: &TestApp, source: &str) -> f64 {
    let source = format!("source=\"{source}\"");
    Metrics::of(app).await.sum("predictions_total", &["outcome=\"ok\"", &source])
}

async fn lookups(app: &TestApp, tier: &str, result: &str) -> f64 {
    let labels = [format!("tier=\"{tier}\""), format!("result=\"{result}\"")];
    Metrics::of(app).await.sum("cache_lookups_total", &[&labels[0], &labels[1]])
}

/// Waits until so many lookups ended so.
async fn until_looked_up(app: &TestApp, tier: &str, result: &str, count: f64) {
    eventually(&format!("{count} {result} in {tier}"), async || lookups(app, tier, result).await >= count).await;
}

fn doubler(input: Value) -> Value {
    json!({"model": "doubler", "input": input})
}
