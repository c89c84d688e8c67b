//! Reads `/metrics`.

use std::{collections::BTreeSet, net::SocketAddr};

use super::TestApp;

/// What `/metrics` said at one moment.
pub struct Metrics(String);

impl Metrics {
    pub async fn of(app: &TestApp) -> Self {
        Self::at(app.addr).await
    }

    /// Of the server that listens there.
    pub async fn at(addr: SocketAddr) -> Self {
        let response = reqwest::get(format!("http://{addr}/metrics")).await.unwrap();
        assert_eq!(response.status(), 200);
        Self(response.text().await.unwrap())
    }

    /// As Prometheus reads it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The names of all series, with their labels.
    pub fn series(&self) -> BTreeSet<&str> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().0).collect()
    }

    /// The sum of a metric's series that have all of `labels`, written `name="value"`. Panics when there is none.
    pub fn sum(&self, metric: &str, labels: &[&str]) -> f64 {
        let mut values = Vec::new();
        for line in self.0.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, found) = series.split_once('{').unwrap_or((series, ""));
            if name == metric && labels.iter().all(|label| found.contains(label)) {
                values.push(value.parse::<f64>().unwrap());
            }
        }
        assert!(!values.is_empty(), "{metric} {labels:?} is not in /metrics");
        values.iter().sum()
    }
}
