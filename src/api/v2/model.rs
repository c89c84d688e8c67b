//! `GET /v2/models/{model}…`: what a model takes and gives, whether it is ready, and how it is configured.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, json};
use utoipa::ToSchema;

use crate::{
    api::{auth::Caller, call::Call, openapi::schemas, reject::Failure, state::ApiState},
    error::Error,
    model::{Datatype, Dim, ModelRef, Provider, TensorSpec},
    registry::Loaded,
};

/// `GET /v2/models/{model}`
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ModelMetadata {
    pub name: String,
    pub versions: Vec<String>,
    pub platform: &'static str,
    pub inputs: Vec<TensorMetadata>,
    pub outputs: Vec<TensorMetadata>,
}

/// One input or output, batch dimension included; -1 is dynamic.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct TensorMetadata {
    pub name: String,
    #[schema(value_type = schemas::Datatype)]
    pub datatype: Datatype,
    pub shape: Vec<i64>,
}

/// `GET /v2/models/{model}/ready`
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ModelReady {
    name: String,
    ready: bool,
}

/// What a model takes and gives
#[utoipa::path(
    get,
    path = "/v2/models/{model}",
    operation_id = "model_metadata",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler")),
    responses((status = 200, description = "OK", body = ModelMetadata))
)]
pub(in crate::api) async fn metadata(
    State(state): State<ApiState>,
    call: Call,
    Path(model): Path<String>,
) -> Result<Json<ModelMetadata>, Error> {
    describe(&state, &call, &ModelRef { name: Some(model), version: None }).map(Json)
}

/// What a version takes and gives
#[utoipa::path(
    get,
    path = "/v2/models/{model}/versions/{version}",
    operation_id = "model_version_metadata",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler"), ("version" = String, Path, description = "The version's name", example = "1")),
    responses((status = 200, description = "OK", body = ModelMetadata))
)]
pub(in crate::api) async fn version_metadata(
    State(state): State<ApiState>,
    call: Call,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<ModelMetadata>, Error> {
    describe(&state, &call, &ModelRef { name: Some(model), version: Some(version) }).map(Json)
}

/// What a version takes and gives, in whatever form it is told.
///
/// # Errors
/// `permission_denied`, `model_not_found`, `model_not_ready`.
pub(in crate::api) fn describe(state: &ApiState, call: &Call, model: &ModelRef) -> Result<ModelMetadata, Error> {
    let loaded = call.find(model)?;
    let id = loaded.model.id();
    let snapshot = state.registry.snapshot();
    let versions = snapshot.models.get(&id.name).into_iter().flat_map(|entry| entry.versions.keys());
    let tensor = |spec: &TensorSpec| TensorMetadata {
        name: spec.name.to_string(),
        datatype: spec.datatype,
        shape: spec.shape.iter().map(Dim::as_i64).collect(),
    };
    Ok(ModelMetadata {
        name: id.name.to_string(),
        versions: versions.map(ToString::to_string).collect(),
        platform: platform(&loaded),
        inputs: loaded.interface.inputs.iter().map(tensor).collect(),
        outputs: loaded.interface.outputs.iter().map(tensor).collect(),
    })
}

/// What computes a model, in the protocol's words.
pub(super) fn platform(loaded: &Loaded) -> &'static str {
    match loaded.manifest.provider {
        Provider::Onnxruntime => "onnx_onnxv1",
        Provider::Stub => "glassbox_stub",
    }
}

/// Whether a model is ready
#[utoipa::path(
    get,
    path = "/v2/models/{model}/ready",
    operation_id = "model_ready",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler")),
    responses((status = 200, description = "OK", body = ModelReady))
)]
pub(in crate::api) async fn ready(
    State(state): State<ApiState>,
    caller: Caller,
    Path(model): Path<String>,
) -> Result<Response, Error> {
    is_ready(&state, &caller, ModelRef { name: Some(model), version: None })
}

/// Whether a version is ready
#[utoipa::path(
    get,
    path = "/v2/models/{model}/versions/{version}/ready",
    operation_id = "model_version_ready",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler"), ("version" = String, Path, description = "The version's name", example = "1")),
    responses((status = 200, description = "OK", body = ModelReady))
)]
pub(in crate::api) async fn version_ready(
    State(state): State<ApiState>,
    caller: Caller,
    Path((model, version)): Path<(String, String)>,
) -> Result<Response, Error> {
    is_ready(&state, &caller, ModelRef { name: Some(model), version: Some(version) })
}

fn is_ready(state: &ApiState, caller: &Caller, model: ModelRef) -> Result<Response, Error> {
    caller.check_model(state, model.name.as_deref())?;
    match state.registry.resolve(&model) {
        Ok(loaded) => Ok(Json(ModelReady { name: loaded.model.id().name.to_string(), ready: true }).into_response()),
        Err(error @ Error::ModelNotReady { .. }) => {
            let name = json!(model.name);
            let members = Map::from_iter([("name".to_owned(), name), ("ready".to_owned(), json!(false))]);
            Ok(Failure { error: Arc::new(error), members, status: None }.into_response())
        }
        Err(error) => Err(error),
    }
}
