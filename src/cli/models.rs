//! `glassbox models`: a table of the repository.

use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use crate::{
    config::Config,
    model::{ModelName, TensorSpec, Version},
    registry::{ModelEntry, Registry, State},
};

pub(super) fn run(config: Config) -> anyhow::Result<ExitCode> {
    let runtime = super::runtime()?;
    let registry = runtime.block_on(super::load_models(&config))?;
    let (text, broken) = table(&registry);
    super::print(&text)?;
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The table and, under it, why a model is not served; and whether one is not.
fn table(registry: &Registry) -> (String, bool) {
    let snapshot = registry.snapshot();
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["name", "version", "state", "task", "inputs", "outputs", "digest", "size"]);
    let (mut reasons, mut broken) = (Vec::new(), false);
    for (name, entry) in &snapshot.models {
        if let Some(fault) = &entry.fault {
            table.add_row([name.as_str(), "", "failed"]);
            broken = true;
            reasons.push(format!("{name}: {fault}"));
        }
        for (version, state) in &entry.versions {
            table.add_row(row(name, entry, version, state));
            broken |= matches!(state, State::Failed(_));
            if let State::Failed(reason) | State::NotBuilt(reason) = state {
                reasons.push(format!("{name}/{version}: {reason}"));
            }
        }
    }
    let text = std::iter::once(table.to_string()).chain(reasons.iter().cloned()).map(|line| line + "\n").collect();
    (text, broken)
}

fn row(name: &ModelName, entry: &ModelEntry, version: &Version, state: &State) -> Vec<String> {
    let default = entry.default_version.as_ref() == Some(version) && entry.versions.len() > 1;
    let version = format!("{version}{}", if default { " (default)" } else { "" });
    let mut row = vec![name.to_string(), version, state.as_str().to_owned()];
    if let State::Ready(loaded) = state {
        let specs = |specs: &[TensorSpec]| specs.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        row.extend([
            format!("{:?}", loaded.manifest.task).to_lowercase(),
            specs(&loaded.signature.inputs),
            specs(&loaded.signature.outputs),
            loaded.digest.chars().take(12).collect(),
            bytesize::ByteSize(loaded.size).to_string(),
        ]);
    }
    row
}
