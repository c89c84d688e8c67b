//! `GET /v1/models…`: what is served, and everything that is known about it.

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::{Value, json};

use crate::{
    api::{auth::Caller, state::ApiState},
    engine::TextEncoder,
    error::Error,
    model::{ModelName, TensorSpec, Version},
    registry::{Loaded, ModelEntry, State as VersionState, shorten},
    telemetry::millis,
};

/// `GET /v1/models`: those that the caller may use.
pub(in crate::api) async fn list(State(state): State<ApiState>, caller: Caller) -> Json<Value> {
    let snapshot = state.registry.snapshot();
    let default = state.registry.default_model();
    let model = |(name, entry): (&ModelName, &ModelEntry)| {
        let loaded = entry.default_version.as_ref().and_then(|version| loaded(entry, version));
        json!({
            "name": name.as_str(),
            "default": default == Some(name),
            "state": entry.state(),
            "task": loaded.map(|loaded| loaded.manifest.task),
            "description": loaded.and_then(|loaded| loaded.manifest.description.clone()),
            "default_version": entry.default_version.as_ref().map(Version::as_str),
            "versions": versions(entry),
        })
    };
    let models = snapshot.models.iter().filter(|(name, _)| caller.may_use(name.as_str()));
    Json(json!({"models": models.map(model).collect::<Vec<_>>()}))
}

/// `GET /v1/models/{model}`: the default version, and the list of the others.
pub(in crate::api) async fn model(
    State(state): State<ApiState>,
    caller: Caller,
    Path(model): Path<String>,
) -> Result<Json<Value>, Error> {
    caller.check_model(&state, Some(&model))?;
    describe(&state, &model, None)
}

/// `GET /v1/models/{model}/versions/{version}`
pub(in crate::api) async fn version(
    State(state): State<ApiState>,
    caller: Caller,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<Value>, Error> {
    caller.check_model(&state, Some(&model))?;
    describe(&state, &model, Some(&version))
}

fn describe(state: &ApiState, model: &str, version: Option<&str>) -> Result<Json<Value>, Error> {
    let snapshot = state.registry.snapshot();
    let not_found = || Error::ModelNotFound { model: shorten(model), version: version.map(shorten) };
    let (name, entry) =
        ModelName::parse(model).and_then(|name| snapshot.models.get_key_value(&name)).ok_or_else(not_found)?;
    let version = match version {
        Some(text) => {
            Some(Version::parse(text).filter(|version| entry.versions.contains_key(version)).ok_or_else(not_found)?)
        }
        None => entry.default_version.clone(),
    };
    let status = version.as_ref().and_then(|version| entry.versions.get(version));
    let mut document = json!({
        "name": name.as_str(),
        "version": version.as_ref().map(Version::as_str),
        "state": status.map_or("failed", VersionState::as_str),
        "reason": reason(entry, status),
        "default_version": entry.default_version.as_ref().map(Version::as_str),
        "versions": versions(entry),
    });
    if let (Some(VersionState::Ready(loaded)), Some(members)) = (status, document.as_object_mut())
        && let Value::Object(details) = details(loaded)
    {
        members.extend(details);
    }
    Ok(Json(document))
}

fn details(loaded: &Loaded) -> Value {
    let manifest = &loaded.manifest;
    json!({
        "description": manifest.description,
        "task": manifest.task,
        "provider": manifest.provider.as_str(),
        "labels": manifest.labels,
        "text_input": manifest.text.as_ref().and_then(|text| text.input.as_ref()),
        "text": manifest.text.as_ref().map(|text| json!({
            "input": text.input,
            "tokenizer": text.tokenizer,
            "max_tokens": loaded.model.encoder().map(TextEncoder::max_tokens),
        })),
        "inputs": loaded.signature.inputs.iter().map(tensor).collect::<Vec<_>>(),
        "outputs": loaded.signature.outputs.iter().map(tensor).collect::<Vec<_>>(),
        "batching": {
            "batch_dimension": loaded.batch_dimension,
            "max_batch_size": loaded.max_batch_size.unwrap_or(1),
            "max_queue_delay_ms": millis(loaded.model.max_queue_delay()),
            "max_padding": loaded.max_padding,
            "reason": loaded.batching_reason,
        },
        "execution": {"strategy": loaded.choice.strategy.as_str(), "reason": loaded.choice.reason, "instances": loaded.instances, "intra_threads": loaded.intra_threads},
        "digest": format!("sha256:{}", loaded.digest),
        "size_bytes": loaded.size,
        "load_ms": millis(loaded.load_time),
        "golden_samples": loaded.golden_samples,
        "metrics": loaded.quality,
    })
}

/// Shapes are the graph's, batch dimension included; -1 is dynamic.
fn tensor(spec: &TensorSpec) -> Value {
    let shape: Vec<_> = spec.shape.iter().map(crate::model::Dim::as_i64).collect();
    json!({"name": &*spec.name, "datatype": spec.datatype.as_str(), "shape": shape})
}

fn versions(entry: &ModelEntry) -> Value {
    let version =
        |(version, state): (&Version, &VersionState)| json!({"version": version.as_str(), "state": state.as_str()});
    entry.versions.iter().map(version).collect()
}

fn reason(entry: &ModelEntry, status: Option<&VersionState>) -> Option<String> {
    match status {
        Some(VersionState::Failed(reason) | VersionState::NotBuilt(reason)) => Some(reason.to_string()),
        _ => entry.fault.as_deref().map(str::to_owned),
    }
}

fn loaded<'a>(entry: &'a ModelEntry, version: &Version) -> Option<&'a Loaded> {
    match entry.versions.get(version)? {
        VersionState::Ready(loaded) => Some(loaded),
        VersionState::Loading | VersionState::Failed(_) | VersionState::NotBuilt(_) | VersionState::Unloaded => None,
    }
}
