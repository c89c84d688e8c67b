//! The real Prometheus as a child process of the test, on a port and in a folder of its own, ended with it.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use reqwest::Url;
use serde_json::Value;
use tempfile::TempDir;

use super::{eventually, free, project};

/// Scrapes and evaluates every second, otherwise as `prometheus/prometheus.yml` says.
pub struct Prometheus {
    addr: SocketAddr,
    child: Child,
    client: reqwest::Client,
    _folder: TempDir,
}

impl Prometheus {
    /// Scrapes these addresses from now on.
    pub async fn start(targets: &[SocketAddr]) -> Self {
        let folder = TempDir::new().unwrap();
        configure(folder.path(), targets);
        let [addr] = free();
        let mut command = Command::new("prometheus");
        command.arg(format!("--web.listen-address={addr}")).arg("--log.level=error");
        command.arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("prometheus does not start ({error}): run 'make setup', or install the package 'prometheus'")
        });
        let prometheus = Self { addr, child, client: reqwest::Client::new(), _folder: folder };
        eventually("prometheus is ready", async || {
            let answer = prometheus.client.get(format!("http://{addr}/-/ready")).send().await;
            answer.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        prometheus
    }

    /// The data that the API gives: `("query", &[("query", "up")])`. Panics when it refuses.
    pub async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.addr);
        let url = Url::parse_with_params(&url, parameters).unwrap();
        let text = self.client.get(url).send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path} {parameters:?}: {text}"));
        assert_eq!(answer["status"], "success", "{parameters:?}: {}", answer["error"]);
        answer["data"].clone()
    }

    /// The labels of all series that an expression gives now, but for those whose values are no numbers.
    pub async fn series(&self, expression: &str) -> Vec<Value> {
        let data = self.ask("query", &[("query", expression)]).await;
        assert_eq!(data["resultType"], "vector", "{expression}");
        let is_number = |series: &&Value| series["value"][1].as_str().is_some_and(|value| value != "NaN");
        let numbers = data["result"].as_array().unwrap().iter().filter(is_number);
        numbers.map(|series| series["metric"].clone()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies what is shipped, but for whom it scrapes and how often.
fn configure(folder: &Path, targets: &[SocketAddr]) {
    let shipped = project().join("prometheus");
    let copy = |name: &str, changes: &[(&str, &str)]| {
        let mut text = fs::read_to_string(shipped.join(name)).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{name} does not say {from}");
            text = text.replace(from, to);
        }
        fs::write(folder.join(name), text).unwrap();
    };
    let targets = targets.iter().map(|addr| format!("\"{addr}\"")).collect::<Vec<_>>().join(", ");
    copy("prometheus.yml", &[("15s", "1s"), ("\"127.0.0.1:8080\"", &targets)]);
    fs::create_dir(folder.join("rules")).unwrap();
    copy("rules/recording.yml", &[("interval: 1m", "interval: 1s")]);
    copy("rules/alerts.yml", &[]);
}
