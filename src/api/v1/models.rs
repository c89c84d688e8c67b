//! `GET /v1/models…`: what is served, and everything that is known about it.

mod answer;

use axum::{
    Json,
    extract::{Path, State},
};

pub(in crate::api) use self::answer::{ModelDescription, ModelList};
use self::answer::{ModelDetails, ModelStanding, ModelSummary, ReadyModel, VersionSummary};
use crate::{
    api::{auth::Caller, state::ApiState},
    error::Error,
    model::{ModelName, Version},
    registry::{Loaded, ModelEntry, State as VersionState, shorten},
};

/// The models that the caller may use
#[utoipa::path(
    get,
    path = "/v1/models",
    operation_id = "list_models",
    tag = "models",
    responses((status = 200, description = "The models", body = ModelList))
)]
pub(in crate::api) async fn list(State(state): State<ApiState>, caller: Caller) -> Json<ModelList> {
    let snapshot = state.registry.snapshot();
    let default = state.registry.default_model();
    let model = |(name, entry): (&ModelName, &ModelEntry)| {
        let loaded = entry.default_version.as_ref().and_then(|version| loaded(entry, version));
        ModelSummary {
            name: name.to_string(),
            default: default == Some(name),
            state: entry.state(),
            task: loaded.map(|loaded| loaded.manifest.task),
            description: loaded.and_then(|loaded| loaded.manifest.description.clone()),
            default_version: entry.default_version.as_ref().map(Version::to_string),
            versions: VersionSummary::all(entry),
        }
    };
    let models = snapshot.models.iter().filter(|(name, _)| caller.may_use(name.as_str()));
    Json(ModelList { models: models.map(model).collect() })
}

/// The default version of a model, and the list of the others
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    operation_id = "model",
    tag = "models",
    params(("model" = String, Path, description = "The model's name", example = "toxicity")),
    responses((status = 200, description = "The model", body = ModelDescription))
)]
pub(in crate::api) async fn model(
    State(state): State<ApiState>,
    caller: Caller,
    Path(model): Path<String>,
) -> Result<Json<ModelDescription>, Error> {
    caller.check_model(&state, Some(&model))?;
    describe(&state, &model, None)
}

/// One version of a model
#[utoipa::path(
    get,
    path = "/v1/models/{model}/versions/{version}",
    operation_id = "model_version",
    tag = "models",
    params(
        ("model" = String, Path, description = "The model's name", example = "toxicity"),
        ("version" = String, Path, description = "The version's name", example = "1")
    ),
    responses((status = 200, description = "The version", body = ModelDescription))
)]
pub(in crate::api) async fn version(
    State(state): State<ApiState>,
    caller: Caller,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<ModelDescription>, Error> {
    caller.check_model(&state, Some(&model))?;
    describe(&state, &model, Some(&version))
}

fn describe(state: &ApiState, model: &str, version: Option<&str>) -> Result<Json<ModelDescription>, Error> {
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
    let standing = ModelStanding {
        name: name.to_string(),
        version: version.as_ref().map(Version::to_string),
        state: status.map_or("failed", VersionState::as_str),
        reason: reason(entry, status),
        default_version: entry.default_version.as_ref().map(Version::to_string),
        versions: VersionSummary::all(entry),
    };
    Ok(Json(match status {
        Some(VersionState::Ready(loaded)) => {
            ModelDescription::Ready(Box::new(ReadyModel { standing, details: ModelDetails::of(loaded) }))
        }
        _ => ModelDescription::NotReady(standing),
    }))
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
        VersionState::Loading
        | VersionState::Failed(_)
        | VersionState::NotBuilt(_)
        | VersionState::Unloaded
        | VersionState::Absent(_) => None,
    }
}
