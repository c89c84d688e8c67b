//! Reads `prometheus/rules/`.

use std::fs;

use crate::support::project;

/// A rule as it stands in its file.
#[derive(Debug, Default)]
pub struct Rule {
    /// What it records, or the alert.
    pub name: String,
    pub is_alert: bool,
    pub expression: String,
    /// The lines of its annotations.
    pub annotations: Vec<String>,
}

/// All of them. Reads as much of YAML as the files use.
pub fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for name in ["recording.yml", "alerts.yml"] {
        let text = fs::read_to_string(project().join("prometheus/rules").join(name)).unwrap();
        let mut part = "";
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.starts_with('#') {
                continue;
            }
            if let Some(name) = trimmed.strip_prefix("- record: ").or_else(|| trimmed.strip_prefix("- alert: ")) {
                let is_alert = trimmed.starts_with("- alert");
                rules.push(Rule { name: name.to_owned(), is_alert, ..Rule::default() });
                part = "";
                continue;
            }
            let Some(rule) = rules.last_mut() else { continue };
            match line.len() - line.trim_start().len() {
                // The next group.
                0..8 => part = "",
                8 => {
                    part = trimmed.split(':').next().unwrap();
                    let rest = trimmed.split_once(": ").map_or("", |(_, rest)| rest);
                    if part == "expr" && rest != "|" {
                        rule.expression = rest.to_owned();
                    }
                }
                _ if part == "expr" => rule.expression += &format!("{trimmed}\n"),
                _ if part == "annotations" => rule.annotations.push(trimmed.to_owned()),
                _ => {}
            }
        }
    }
    rules
}

pub fn alerts() -> Vec<Rule> {
    let alerts: Vec<Rule> = rules().into_iter().filter(|rule| rule.is_alert).collect();
    assert!(alerts.len() >= 10, "only {} alerts were found", alerts.len());
    alerts
}
