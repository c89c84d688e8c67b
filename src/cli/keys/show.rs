//! What is shown of keys: all but their hashes.

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::keys::{Entry, KeySet, Scope};

/// A table of all keys, in the file's order.
pub(super) fn table(set: &KeySet) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_header([
        "id",
        "name",
        "state",
        "scopes",
        "models",
        "plan",
        "not before",
        "expires",
    ]);
    let now = Timestamp::now();
    for entry in set.entries() {
        let principal = &entry.principal;
        table.add_row([
            principal.key_id.to_string(),
            principal.name.to_string(),
            entry.state(now).as_str().to_owned(),
            scopes(entry).join(", "),
            models(entry).join(", "),
            principal.plan.name.to_string(),
            time(entry.validity.not_before),
            time(entry.validity.expires_at),
        ]);
    }
    format!("{table}\n")
}

/// The same for programs.
pub(super) fn json(set: &KeySet) -> anyhow::Result<String> {
    let now = Timestamp::now();
    let entry = |entry: &Entry| {
        json!({
            "id": &*entry.principal.key_id,
            "name": &*entry.principal.name,
            "state": entry.state(now).as_str(),
            "scopes": scopes(entry),
            "models": models(entry),
            "plan": &*entry.principal.plan.name,
            "not_before": entry.validity.not_before,
            "expires_at": entry.validity.expires_at,
            "revoked_at": entry.validity.revoked_at,
        })
    };
    let document: Value = json!({"keys": set.entries().iter().map(entry).collect::<Vec<_>>()});
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// All about one key, a line for each.
pub(super) fn entry(entry: &Entry) -> String {
    let principal = &entry.principal;
    let plan = &principal.plan;
    let lines = [
        ("id", principal.key_id.to_string()),
        ("name", principal.name.to_string()),
        ("state", entry.state(Timestamp::now()).as_str().to_owned()),
        ("scopes", scopes(entry).join(", ")),
        ("models", models(entry).join(", ")),
        ("plan", format!("{}: {}/s, burst {}, {} at once", plan.name, plan.rate, plan.burst, plan.concurrent)),
        ("not before", time(entry.validity.not_before)),
        ("expires", time(entry.validity.expires_at)),
        ("revoked", time(entry.validity.revoked_at)),
    ];
    lines.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name:<11}{value}\n")).collect()
}

fn scopes(entry: &Entry) -> Vec<&'static str> {
    entry.principal.scopes.iter().map(|scope| Scope::as_str(*scope)).collect()
}

fn models(entry: &Entry) -> Vec<String> {
    entry.principal.models.iter().map(ToString::to_string).collect()
}

fn time(time: Option<Timestamp>) -> String {
    time.map(|time| time.to_string()).unwrap_or_default()
}
