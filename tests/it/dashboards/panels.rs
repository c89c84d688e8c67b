//! Reads `grafana/dashboards/`.

use std::fs;

use serde_json::Value;

use crate::support::project;

/// What variables stand for.
pub type Choice = [(&'static str, &'static str)];

/// Intervals as Grafana chooses them where Prometheus scrapes each second; all of everything.
pub const ALL: [(&str, &str); 5] =
    [("$__rate_interval", "10s"), ("$__range", "1m"), ("$instance", ".*"), ("$model", ".*"), ("$version", ".*")];

/// One version.
pub const ONE: [(&str, &str); 5] =
    [("$__rate_interval", "10s"), ("$__range", "1m"), ("$instance", ".*"), ("$model", "toxicity"), ("$version", "1")];

/// One version whose features are watched.
pub const NUMBERS: [(&str, &str); 5] = [
    ("$__rate_interval", "10s"),
    ("$__range", "1m"),
    ("$instance", ".*"),
    ("$model", "linear_regression"),
    ("$version", "1"),
];

/// A dashboard, and the stem of its file's name.
pub struct Board {
    pub name: String,
    pub json: Value,
}

/// All of them.
pub fn boards() -> Vec<Board> {
    let files = fs::read_dir(project().join("grafana/dashboards")).unwrap().map(|entry| entry.unwrap().path());
    let boards = files.map(|path| {
        let json = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        Board { name: path.file_stem().unwrap().to_str().unwrap().to_owned(), json }
    });
    let mut boards: Vec<Board> = boards.collect();
    boards.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<&str> = boards.iter().map(|board| &*board.name).collect();
    assert_eq!(names, ["cache", "callers", "history", "model", "overview", "split"]);
    boards
}

impl Board {
    /// The panels that show something: rows only say what follows.
    pub fn panels(&self) -> impl Iterator<Item = &Value> {
        self.json["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
    }

    /// What every panel asks, with variables in it.
    pub fn queries(&self) -> impl Iterator<Item = Question> {
        self.panels().flat_map(|panel| {
            let place = format!("{}: {}", self.name, panel["title"]);
            let targets = panel["targets"].as_array().unwrap().iter();
            targets.map(move |target| Question {
                place: place.clone(),
                query: target["expr"].as_str().unwrap().to_owned(),
                labels: shown(target["legendFormat"].as_str().unwrap()),
            })
        })
    }

    /// The variables whose values Prometheus is asked for.
    pub fn variables(&self) -> Vec<Variable> {
        let variables = self.json["templating"]["list"].as_array().unwrap().iter();
        let asked = variables.filter(|variable| variable["type"] == "query").map(|variable| {
            let query = variable["query"]["query"].as_str().unwrap();
            let inner = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')')).unwrap();
            let (series, label) = inner.rsplit_once(", ").unwrap();
            Variable {
                name: variable["name"].as_str().unwrap().to_owned(),
                series: series.to_owned(),
                label: label.to_owned(),
            }
        });
        asked.collect()
    }
}

/// Something to ask Prometheus.
#[derive(Debug)]
pub struct Question {
    /// Who asks.
    pub place: String,
    pub query: String,
    /// What the answer must be labelled with.
    pub labels: Vec<String>,
}

/// The labels that a legend shows, written `{{label}}`.
fn shown(legend: &str) -> Vec<String> {
    legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().to_owned()).collect()
}

/// A variable, and the series and the label that its values are looked for in.
pub struct Variable {
    pub name: String,
    pub series: String,
    pub label: String,
}

/// The query as Grafana sends it.
pub fn substitute(query: &str, choice: &Choice) -> String {
    let query = choice.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value));
    assert!(!query.contains('$'), "a variable that nobody knows: {query}");
    query
}
