//! The names, types and labels of all metrics, as dashboards and alerts of other people know them: they are part of the
//! interface, and what changes in `metrics_contract.txt` is told in the changelog.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde_json::json;

use crate::support::{KeysFile, Metrics, TestApp};

const CONTRACT: &str = include_str!("metrics_contract.txt");

#[tokio::test(flavor = "multi_thread")]
async fn names_types_and_labels_are_those_of_the_contract() {
    let file = KeysFile::new();
    let key = file.create(&[]);
    let app = TestApp::with(|config| {
        config.auth.keys_file = Some(file.path().to_owned());
        config.rate_limit.enabled = true;
    })
    .await;
    let request = app.request(reqwest::Method::POST, "/v1/predict").header("X-API-Key", &key.text);
    assert_eq!(request.json(&json!({"text": "hello"})).send().await.unwrap().status(), 200);
    let found = contract(Metrics::of(&app).await.text());
    assert!(found == CONTRACT, "tests/it/metrics_contract.txt is another one. The server has now:\n\n{found}");
}

/// One line per metric: its name, its type, and the names of its labels.
fn contract(text: &str) -> String {
    let mut metrics: BTreeMap<&str, (&str, BTreeSet<&str>)> = BTreeMap::new();
    let mut last = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            metrics.insert(name, (kind, BTreeSet::new()));
            last = name;
        } else if let Some((name, rest)) = line.split_once('{')
            && name.starts_with(last)
        {
            let labels = rest.rsplit_once("} ").unwrap().0.split("\",").map(|label| label.split_once('=').unwrap().0);
            metrics.get_mut(last).unwrap().1.extend(labels.filter(|label| *label != "le"));
        }
    }
    metrics.into_iter().fold(String::new(), |mut all, (name, (kind, labels))| {
        let labels: Vec<_> = labels.into_iter().collect();
        writeln!(all, "{}", format!("{name} {kind} {}", labels.join(",")).trim_end()).unwrap();
        all
    })
}
