//! Who can write to Redis can write what looks like an answer: what no server could have written is not believed.

use std::time::{Duration, SystemTime};

use glassbox::config::{CacheMode, Config};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Seen, doubler, keep_in, lookups, predict};
use crate::support::{Metrics, Redis, Repository, TestApp, eventually, patiently};

/// Computing an answer takes milliseconds; writing endless lists takes for ever.
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_model_could_not_give_is_computed_anew() {
    let repository = Repository::new();
    for bundled in ["doubler", "multi_io", "toxicity"] {
        repository.copy(bundled, bundled);
    }
    repository.stub("stub");
    let manifest = repository.path().join("stub/model.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap() + "output.activation = \"softmax\"\n";
    repository.write("stub/model.toml", manifest);
    let redis = Redis::start();
    let serve = |config: &mut Config| {
        config.models.repository = Some(repository.path());
        config.models.default = None;
        keep_in(config, CacheMode::Redis, &redis);
    };
    let app = TestApp::with(serve).await;

    let vector = |shape: &[u32], numbers: &[f32]| [vec![2], floats(shape, numbers)].concat();
    let named = |values: &[(&str, &[f32])]| {
        let value = |(name, numbers): &(&str, &[f32])| [text(name), floats(&[numbers.len() as u32], numbers)].concat();
        [vec![3], length(values.len()), values.iter().flat_map(value).collect()].concat()
    };
    let classifier = [
        ("a tensor", vector(&[2], &[0.5, 0.5])),
        ("other labels", classes(&["fine", "</script>\u{1b}[31m"], &[0.0, 1.0])),
        ("labels in another order", classes(&["toxic", "non_toxic"], &[0.0, 1.0])),
        ("one label more", classes(&["non_toxic", "toxic", "x"], &[0.0, 0.0, 1.0])),
        ("no labels", classes(&[], &[])),
        ("nothing named", named(&[])),
    ];
    let tensor = [
        ("lists without end", vector(&[4_000_000_000, 1_000_000_000, 0], &[])),
        ("lists in lists", vector(&[[1; 63].as_slice(), &[0]].concat(), &[])),
        ("another rank", vector(&[2, 1, 1], &[2.0, 4.0])),
        ("another datatype", [&[2, 0, 13][..], &length(1), &length(1), &1_f64.to_le_bytes()].concat()),
        ("keys", [vec![2, 1], length(1), text("x"), floats(&[1], &[1.0])[1..].to_vec()].concat()),
        ("classes", classes(&["x"], &[1.0])),
        ("nothing named", named(&[])),
    ];
    let several = [
        ("an output alone", named(&[("score", &[0.5])])),
        ("another output", named(&[("score", &[0.5]), ("bin", &[0.5])])),
        ("another datatype", named(&[("score", &[0.5]), ("bucket", &[0.5])])),
        ("a tensor", vector(&[1], &[0.5])),
    ];
    let softmax = [("no probabilities", classes(&["no", "yes"], &[5e9, -1.0]))];
    for (input, forgeries) in [
        (json!({"model": "toxicity", "text": "you are awful"}), &classifier[..]),
        (doubler(json!([1, 2])), &tensor),
        (json!({"model": "multi_io", "input": {"amount": [5, 1], "category": [2]}}), &several),
        (json!({"model": "stub", "text": "x"}), &softmax),
    ] {
        let forger = Forger::new(&app, &redis, input).await;
        for (name, body) in forgeries {
            forger.is_not_believed(name, now(), body).await;
        }
    }
    assert_eq!(Metrics::of(&app).await.sum("cache_circuit_open", &[]), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_the_future_is_believed_for_a_minute_and_never_makes_a_day_of_an_hour() {
    let redis = Redis::start();
    let app = TestApp::with(|config| keep_in(config, CacheMode::Tiered, &redis)).await;
    let forger = Forger::new(&app, &redis, json!({"model": "toxicity", "text": "you are awful"})).await;
    let forged = classes(&["non_toxic", "toxic"], &[1.0, 0.0]);
    for ahead in [HOUR, Duration::from_secs(300), Duration::MAX] {
        // What one server knows in memory by now, another one looks for in Redis.
        let other = TestApp::with(|config| keep_in(config, CacheMode::Tiered, &redis)).await;
        let forger = Forger { app: &other, ..forger.clone() };
        let at = now().checked_add(ahead).unwrap_or(Duration::MAX);
        forger.write(at, Duration::ZERO, &forged);
        forger.is_computed(&format!("{ahead:?} ahead")).await;
    }
    // A clock that is a little ahead is a clock; what it says counts as now.
    let other = TestApp::with(|config| keep_in(config, CacheMode::Tiered, &redis)).await;
    forger.write(now() + Duration::from_secs(30), 1_000_000 * HOUR, &forged);
    let seen = predict(&other, &forger.input).await;
    assert!(seen.says("glassbox-redis; hit; ttl="), "{seen:?}");
    assert_eq!((&seen.body["prediction"]["label"], seen.age), (&json!("non_toxic"), Some(0)));
    // Nobody computes for longer than a day.
    let saved = Metrics::of(&other).await.sum("cache_saved_seconds_total", &["tier=\"redis\""]);
    assert!((1.0..=24.0 * 3600.0).contains(&saved), "{saved} s");
}

/// Writes under the key of one input, as somebody would who has read how servers do.
#[derive(Clone)]
struct Forger<'a> {
    app: &'a TestApp,
    redis: &'a Redis,
    input: Value,
    key: String,
    computed: Value,
}

impl<'a> Forger<'a> {
    async fn new(app: &'a TestApp, redis: &'a Redis, input: Value) -> Self {
        let known = redis.keys("glassbox:");
        let computed = until_known(app, &input).await;
        let key = redis.keys("glassbox:").into_iter().find(|key| !known.contains(key)).unwrap();
        Self { app, redis, input, key, computed }
    }

    fn write(&self, stored_at: Duration, compute_time: Duration, prediction: &[u8]) {
        let number = |number: u128| u64::try_from(number).unwrap_or(u64::MAX).to_le_bytes();
        let times = [number(stored_at.as_millis()), number(compute_time.as_nanos())].concat();
        let body = [&times, prediction].concat();
        let hex = self.key.strip_prefix("glassbox:").unwrap();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let key: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let checksum = Sha256::new().chain_update(key).chain_update(&body).finalize();
        self.redis.set_bytes(&self.key, &[b"GBX1", &checksum[..16], &body].concat());
    }

    async fn is_not_believed(&self, name: &str, stored_at: Duration, prediction: &[u8]) {
        self.write(stored_at, Duration::ZERO, prediction);
        self.is_computed(name).await;
        // What was not believed is replaced.
        assert_eq!(until_known(self.app, &self.input).await, self.computed, "{name}");
    }

    async fn is_computed(&self, name: &str) {
        let errors = lookups(self.app, "redis", "error").await;
        let seen: Seen = patiently(predict(self.app, &self.input)).await;
        assert_eq!((seen.status, &seen.body["prediction"]), (200, &self.computed), "{name}");
        assert!(seen.says("fwd=miss; stored"), "{name}: {seen:?}");
        assert_eq!(lookups(self.app, "redis", "error").await, errors + 1.0, "{name}");
    }
}

/// Asks until the answer comes from Redis.
async fn until_known(app: &TestApp, input: &Value) -> Value {
    let mut prediction = Value::Null;
    eventually("the answer is kept", async || {
        let seen = predict(app, input).await;
        prediction = seen.body["prediction"].clone();
        seen.says("hit")
    })
    .await;
    prediction
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

fn length(length: usize) -> Vec<u8> {
    u32::try_from(length).unwrap().to_le_bytes().to_vec()
}

fn text(text: &str) -> Vec<u8> {
    [length(text.len()), text.as_bytes().to_vec()].concat()
}

/// FP32, without keys.
fn floats(shape: &[u32], numbers: &[f32]) -> Vec<u8> {
    let sizes = shape.iter().flat_map(|size| size.to_le_bytes()).collect();
    let numbers = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    [vec![0, 12], length(shape.len()), sizes, numbers].concat()
}

fn classes(labels: &[&str], probabilities: &[f32]) -> Vec<u8> {
    let names = labels.iter().flat_map(|label| text(label)).collect();
    let numbers = probabilities.iter().flat_map(|number| number.to_le_bytes()).collect();
    [vec![1], length(labels.len()), names, length(probabilities.len()), numbers].concat()
}
