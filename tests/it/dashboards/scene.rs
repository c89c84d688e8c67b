//! Real servers of every role, and callers of every kind.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::{KeysFile, Redis, Server, bundled, eventually, glassbox, onnxruntime, variable};

/// How long callers rest between their rounds: the test is about kinds of requests, not about many.
const REST: Duration = Duration::from_millis(20);

/// One server with keys, quotas, a history and both tiers of the cache, one that speaks HTTPS, and one that runs nothing itself,
/// with its worker.
pub struct Scene {
    app: Server,
    https: Server,
    asking: Server,
    worker: Server,
    callers: Callers,
    _keys: KeysFile,
    _redis: Redis,
    _folder: TempDir,
}

impl Scene {
    pub async fn start() -> Self {
        let (redis, keys, folder) = (Redis::start(), KeysFile::new(), TempDir::new().unwrap());
        keys.write("[plans.narrow]\nrate = 1\nburst = 2\nconcurrent = 1\n");
        let mut command = glassbox(&["serve", "--config", "config/development.toml", "--listen", "127.0.0.1:0"]);
        for (key, value) in [
            ("models.repository", bundled().to_str().unwrap()),
            ("auth.keys_file", keys.path().to_str().unwrap()),
            ("rate_limit.enabled", "true"),
            ("cache.mode", "tiered"),
            ("history.mode", "sqlite"),
            ("history.sqlite_path", folder.path().join("predictions.db").to_str().unwrap()),
            ("history.spool_path", folder.path().join("spool").to_str().unwrap()),
            ("redis.url", &redis.url()),
            ("telemetry.log_format", "json"),
        ] {
            command.env(variable(key), value);
        }
        let key = |options: &[&str]| keys.create(options).text;
        let (good, narrow, elsewhere) = (key(&[]), key(&["--plan", "narrow"]), key(&["--model", "doubler"]));
        let app = Server::start(&mut command);
        let (worker, asking) = split(&redis);
        let urls = [&app, &asking].map(|server| format!("http://{}", server.addr));
        let callers = Callers { client: Client::new(), urls, good, narrow, elsewhere };
        // From the first answer on, both ends of the queue have something to tell.
        eventually("a worker answers", async || callers.ask_worker("the first text").await == 200).await;
        let https = https(folder.path());
        Self { app, https, asking, worker, callers, _keys: keys, _redis: redis, _folder: folder }
    }

    /// Where they tell their metrics.
    pub fn metrics(&self) -> [SocketAddr; 4] {
        let listening = self.https.log.iter().find(|line| line["message"] == "listening").unwrap();
        let https = listening["metrics_addr"].as_str().unwrap().parse().unwrap();
        [self.app.addr, https, self.asking.addr, self.worker.addr]
    }

    /// Callers call until the set is dropped.
    pub fn call(&self) -> JoinSet<()> {
        let callers = self.callers.clone();
        let mut calling = JoinSet::new();
        calling.spawn(async move {
            for round in 0_u64.. {
                callers.round(round).await;
                tokio::time::sleep(REST).await;
            }
        });
        calling
    }
}

/// A server with a certificate, which tells its metrics on a second listener.
fn https(folder: &Path) -> Server {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&cert, pair.cert.pem()).unwrap();
    fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let mut command = glassbox(&["serve", "--model", "model/doubler/1/model.onnx", "--listen", "127.0.0.1:0"]);
    command.env(variable("server.metrics_listen"), "127.0.0.1:0");
    Server::start(command.env(variable("server.tls_cert"), cert).env(variable("server.tls_key"), key))
}

/// A worker, and a server that hands it all that it is asked.
fn split(redis: &Redis) -> (Server, Server) {
    let mut worker = glassbox(&["worker", "--listen", "127.0.0.1:0"]);
    worker.env(variable("models.repository"), bundled()).env(variable("runtime.onnxruntime_path"), onnxruntime());
    let mut asking = glassbox(&["serve", "--role", "api", "--listen", "127.0.0.1:0"]);
    asking.env(variable("cache.mode"), "off").env(variable("rate_limit.enabled"), "false");
    let start = |command: &mut Command| {
        // A busy machine keeps this.
        command.env(variable("queue.timeout"), "3s").env(variable("telemetry.log_format"), "json");
        Server::start(command.env(variable("redis.url"), redis.url()))
    };
    (start(&mut worker), start(&mut asking))
}

#[derive(Clone)]
struct Callers {
    client: Client,
    /// Of the server with keys, and of the one with a worker.
    urls: [String; 2],
    good: String,
    narrow: String,
    elsewhere: String,
}

impl Callers {
    /// One request of each kind: new and known, alone and many, wrong in every way.
    async fn round(&self, round: u64) {
        let new = format!("text number {round}");
        for (key, path, body) in [
            (&*self.good, "/v1/predict", json!({"text": new})),
            (&self.good, "/v1/predict", json!({"text": "have a lovely day"})),
            (&self.good, "/v1/predict_batch", json!({"texts": ["you are awful", new.repeat(2), "thank you"]})),
            (&self.good, "/v1/predict", json!({"model": "doubler", "input": [round]})),
            (&self.good, "/v1/predict", json!({"model": "stub", "text": new})),
            (&self.good, "/v1/predict", json!({"model": "linear_regression", "input": vec![round as f64 / 1e3; 10]})),
            (&self.good, "/v1/predict", json!({"text": ""})),
            (&self.good, "/v1/predict", json!({"model": "none", "input": 1})),
            (&self.good, "/v1/predict", json!(["not", "an", "object"])),
            (&self.elsewhere, "/v1/predict", json!({"text": new})),
            (&self.narrow, "/v1/predict", json!({"text": "have a lovely day"})),
            ("gb_000000000000_unknown", "/v1/predict", json!({"text": new})),
            ("", "/nowhere", json!({})),
        ] {
            self.send(key, path, &body).await;
        }
        self.ask_worker(&new).await;
    }

    /// Asks a model that another process runs; returns the status.
    async fn ask_worker(&self, text: &str) -> u16 {
        let request = self.client.post(format!("{}/v1/predict", self.urls[1]));
        let answer = request.json(&json!({"model": "toxicity", "text": text})).send().await.unwrap();
        let status = answer.status().as_u16();
        drop(answer.bytes().await.unwrap());
        status
    }

    async fn send(&self, key: &str, path: &str, body: &Value) {
        let request = self.client.request(Method::POST, format!("{}{path}", self.urls[0]));
        let answer = request.header("X-API-Key", key).json(body).send().await.unwrap();
        // Read to its end, so that its connection serves the next one.
        drop(answer.bytes().await.unwrap());
    }
}
