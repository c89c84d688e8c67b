//! Rules, alerts and dashboards, against the real Prometheus and real servers: what they name is there, and what they ask is
//! answered.

mod panels;
mod promql;
mod rules;
mod scene;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use self::{
    panels::{ALL, Board, NUMBERS, ONE, Question, boards, substitute},
    promql::{names, without_bounds},
    rules::{alerts, rules},
    scene::Scene,
};
use crate::support::{Metrics, PATIENCE, Prometheus, eventually, project, run};

/// From the first scrape until all windows hold something, on a busy machine.
const LIMIT: Duration = PATIENCE;

#[test]
fn promtool_finds_nothing_to_say_about_configuration_and_rules_and_their_tests_pass() {
    promtool(&["check", "config", "prometheus/prometheus.yml"]);
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "prometheus/rules/recording.yml"]);
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "prometheus/rules/alerts.yml"]);
    let tests = rule_tests();
    promtool(&[&["test", "rules"], &tests.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>()[..]].concat());
}

#[test]
fn every_alert_fires_in_one_rule_test_and_is_silent_in_another() {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for (_, text) in rule_tests() {
        for case in text.split("alertname: ").skip(1) {
            let mut lines = case.lines();
            let (name, expected) = (lines.next().unwrap(), lines.next().unwrap().trim());
            match expected {
                "exp_alerts: []" => silent.insert(name.to_owned()),
                "exp_alerts:" => fires.insert(name.to_owned()),
                other => panic!("{name} is followed by {other}"),
            };
        }
    }
    let alerts: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    assert_eq!((&fires, &silent), (&alerts, &alerts));
}

#[test]
fn every_alert_says_what_it_is_about_and_has_a_paragraph_in_the_runbook() {
    let guide = fs::read_to_string(project().join("DEPLOYMENT.md")).unwrap();
    let runbook = guide.split("\n## Runbook\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let sections = runbook.split("\n### ").skip(1).map(|section| section.split_once('\n').unwrap());
    let sections: BTreeMap<&str, &str> = sections.collect();
    for alert in alerts() {
        let has = |key: &str| alert.annotations.iter().any(|line| line.starts_with(key));
        assert!(has("summary: ") && has("description: "), "{} {:?}", alert.name, alert.annotations);
        assert!(has(&format!("runbook: DEPLOYMENT.md#{}", alert.name.to_lowercase())), "{}", alert.name);
        let words = sections.get(alert.name.as_str()).map_or(0, |text| text.split_whitespace().count());
        assert!(words > 30, "DEPLOYMENT.md says too little about {}", alert.name);
    }
    let unknown: Vec<_> = sections.keys().filter(|name| !alerts().iter().any(|alert| alert.name == **name)).collect();
    assert!(unknown.is_empty(), "DEPLOYMENT.md tells of alerts that are not there: {unknown:?}");
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_can_be_linked_to() {
    for board in boards() {
        assert_eq!(board.json["uid"], format!("glassbox-{}", board.name));
        assert!(board.json["schemaVersion"].as_i64().unwrap() >= 41, "{}", board.name);
        let ids = board.json["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64().unwrap());
        let ids: Vec<u64> = ids.collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{}: an id is there twice", board.name);
        for panel in board.panels() {
            let texts = [&panel["title"], &panel["description"], &panel["fieldConfig"]["defaults"]["unit"]];
            assert!(texts.iter().all(|text| text.as_str().is_some_and(|text| !text.is_empty())), "{panel:#}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
    let names = |board: &Board| board.variables().iter().map(|variable| variable.name.clone()).collect::<Vec<_>>();
    let known: BTreeSet<String> = boards().iter().flat_map(names).collect();
    assert_eq!(known, ["instance", "model", "version"].map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_a_panel_or_a_rule_names_is_served() {
    let scene = Scene::start().await;
    let mut served = BTreeSet::from(["up".to_owned()]);
    for addr in scene.metrics() {
        served.extend(names_in(Metrics::at(addr).await.text()));
    }
    let rules = rules();
    served.extend(rules.iter().filter(|rule| !rule.is_alert).map(|rule| rule.name.clone()));
    let mut asked: Vec<(String, String)> =
        rules.iter().map(|rule| (rule.name.clone(), rule.expression.clone())).collect();
    for board in boards() {
        asked.extend(board.queries().map(|question| (question.place, question.query)));
        asked.extend(board.variables().into_iter().map(|variable| (variable.name, variable.series)));
    }
    let mut seen = 0;
    for (place, query) in asked {
        let names = names(&query);
        assert!(!names.is_empty() || query.starts_with("vector("), "{place}: {query}");
        for name in names {
            assert!(served.contains(&name), "{place} asks for {name}, which nobody serves");
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} names were found");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_and_every_rule_gives_data_while_callers_call() {
    let scene = Scene::start().await;
    let prometheus = Prometheus::start(&scene.metrics()).await;
    let _calling = scene.call();

    let mut questions: Vec<Question> = Vec::new();
    for board in boards() {
        for choice in [ALL, ONE] {
            let filled = |question: Question| {
                // Texts have no features.
                let numbers = choice == ONE && question.query.contains("(feature_");
                let choice = if numbers { NUMBERS } else { choice };
                Question { query: substitute(&question.query, &choice), ..question }
            };
            questions.extend(board.queries().map(filled));
        }
        questions.extend(board.variables().into_iter().map(|variable| Question {
            place: format!("{}: ${}", board.name, variable.name),
            query: substitute(&variable.series, &ALL),
            labels: vec![variable.label],
        }));
    }
    let loaded = loaded(&prometheus).await;
    let written: BTreeSet<String> = rules().into_iter().map(|rule| rule.name).collect();
    assert_eq!(loaded.iter().map(|rule| rule.place.clone()).collect::<BTreeSet<_>>(), written);
    questions.extend(loaded);

    let (asked, began) = (questions.len(), Instant::now());
    while !questions.is_empty() {
        let mut unanswered = Vec::new();
        for question in questions {
            let series = prometheus.series(&question.query).await;
            let is_labelled = |series: &Value| question.labels.iter().all(|label| !series[label].is_null());
            if !series.iter().any(is_labelled) {
                unanswered.push(question);
            }
        }
        questions = unanswered;
        assert!(began.elapsed() < LIMIT, "no data after {LIMIT:?}: {questions:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("{asked} queries had data after {:?}", began.elapsed());
    let faults = || async {
        let groups = prometheus.ask("rules", &[]).await["groups"].clone();
        let rules = groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
        rules.filter(|rule| rule["health"] != "ok").collect::<Vec<_>>()
    };
    eventually("every rule was evaluated without a fault", async || faults().await.is_empty()).await;
}

/// The rules as Prometheus has read them, each with what it looks at, whether or not an alert fires.
async fn loaded(prometheus: &Prometheus) -> Vec<Question> {
    let groups = prometheus.ask("rules", &[]).await["groups"].clone();
    let rules = groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let question = |rule: &Value| {
        let (name, query) = (rule["name"].as_str().unwrap(), rule["query"].as_str().unwrap());
        let query = if rule["type"] == "alerting" { without_bounds(query) } else { query.to_owned() };
        Question { place: name.to_owned(), query, labels: Vec::new() }
    };
    rules.map(question).collect()
}

/// Runs the real linter; panics unless it is content.
fn promtool(args: &[&str]) {
    let there = Command::new("promtool").arg("--version").output().is_ok();
    assert!(there, "promtool is not installed: install the package 'prometheus', or run 'make setup'");
    let finished = run(Command::new("promtool").args(args).current_dir(project()));
    assert_eq!(finished.code, Some(0), "promtool {args:?}\n{}{}", finished.stdout, finished.stderr);
}

/// The files that hold tests of rules, with their text.
fn rule_tests() -> Vec<(String, String)> {
    let files = fs::read_dir(project().join("prometheus/tests")).unwrap().map(|entry| entry.unwrap().path());
    let tests = files.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()));
    let tests: Vec<_> = tests.collect();
    assert!(!tests.is_empty(), "there are no rule tests");
    tests
}

/// The names of all series in `/metrics`.
fn names_in(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}
