//! `GET /v2/models/{model}/config`: a model's settings in the words of the protocol's model configuration.

use axum::{Json, extract::Path};
use serde::Serialize;
use utoipa::ToSchema;

use super::model::platform;
use crate::{
    api::call::Call,
    error::Error,
    model::{Datatype, Dim, ModelRef, TensorSpec},
    registry::Loaded,
};

/// `GET /v2/models/{model}/config`
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ModelConfig {
    pub name: String,
    pub platform: &'static str,
    pub backend: &'static str,
    /// Rows in one run; 0 for a model whose shapes have no batch dimension of their own.
    pub max_batch_size: usize,
    pub input: Vec<TensorConfig>,
    pub output: Vec<TensorConfig>,
    /// Only where rows of several requests share a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_batching: Option<DynamicBatching>,
    pub instance_group: [InstanceGroup; 1],
    pub response_cache: Switch,
}

/// Without the batch dimension, where there is one; -1 is dynamic.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct TensorConfig {
    pub name: String,
    pub data_type: &'static str,
    pub dims: Vec<i64>,
    /// Set where nothing is left without the batch dimension: `dims` are never empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reshape: Option<Reshape>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Reshape {
    shape: [i64; 0],
}

#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct DynamicBatching {
    pub max_queue_delay_microseconds: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct InstanceGroup {
    pub count: usize,
    pub kind: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Switch {
    pub enable: bool,
}

/// A model's settings, in Triton's words
#[utoipa::path(
    get,
    path = "/v2/models/{model}/config",
    operation_id = "model_config",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler")),
    responses((status = 200, description = "OK", body = ModelConfig))
)]
pub(in crate::api) async fn show(call: Call, Path(model): Path<String>) -> Result<Json<ModelConfig>, Error> {
    describe(&call, &ModelRef { name: Some(model), version: None }).map(Json)
}

/// A version's settings, in Triton's words
#[utoipa::path(
    get,
    path = "/v2/models/{model}/versions/{version}/config",
    operation_id = "model_version_config",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler"), ("version" = String, Path, description = "The version's name", example = "1")),
    responses((status = 200, description = "OK", body = ModelConfig))
)]
pub(in crate::api) async fn show_version(
    call: Call,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<ModelConfig>, Error> {
    describe(&call, &ModelRef { name: Some(model), version: Some(version) }).map(Json)
}

/// A version's settings, in whatever form they are told.
///
/// # Errors
/// `permission_denied`, `model_not_found`, `model_not_ready`.
pub(in crate::api) fn describe(call: &Call, model: &ModelRef) -> Result<ModelConfig, Error> {
    let loaded = call.find(model)?;
    let max_batch_size = loaded.max_batch_size.unwrap_or_default();
    let tensor = |spec: &TensorSpec| tensor(spec, max_batch_size > 0);
    let delay = loaded.model.max_queue_delay();
    let shares = max_batch_size > 0 && loaded.choice.strategy == crate::model::Strategy::Batched;
    Ok(ModelConfig {
        name: loaded.model.id().name.to_string(),
        platform: platform(&loaded),
        backend: backend(&loaded),
        max_batch_size,
        input: loaded.interface.inputs.iter().map(tensor).collect(),
        output: loaded.interface.outputs.iter().map(tensor).collect(),
        dynamic_batching: shares.then(|| DynamicBatching {
            max_queue_delay_microseconds: u64::try_from(delay.as_micros()).unwrap_or(u64::MAX),
        }),
        instance_group: [InstanceGroup { count: loaded.instances, kind: "KIND_CPU" }],
        response_cache: Switch { enable: loaded.manifest.cache.enabled },
    })
}

fn backend(loaded: &Loaded) -> &'static str {
    match loaded.manifest.provider {
        crate::model::Provider::Onnxruntime => "onnxruntime",
        crate::model::Provider::Stub => "stub",
    }
}

fn tensor(spec: &TensorSpec, batched: bool) -> TensorConfig {
    let dims: Vec<i64> = spec.shape.iter().skip(usize::from(batched)).map(Dim::as_i64).collect();
    let reshape = dims.is_empty().then_some(Reshape { shape: [] });
    let dims = if dims.is_empty() { vec![1] } else { dims };
    TensorConfig { name: spec.name.to_string(), data_type: data_type(spec.datatype), dims, reshape }
}

const fn data_type(datatype: Datatype) -> &'static str {
    match datatype {
        Datatype::Bool => "TYPE_BOOL",
        Datatype::Uint8 => "TYPE_UINT8",
        Datatype::Uint16 => "TYPE_UINT16",
        Datatype::Uint32 => "TYPE_UINT32",
        Datatype::Uint64 => "TYPE_UINT64",
        Datatype::Int8 => "TYPE_INT8",
        Datatype::Int16 => "TYPE_INT16",
        Datatype::Int32 => "TYPE_INT32",
        Datatype::Int64 => "TYPE_INT64",
        Datatype::Fp16 => "TYPE_FP16",
        Datatype::Bf16 => "TYPE_BF16",
        Datatype::Fp32 => "TYPE_FP32",
        Datatype::Fp64 => "TYPE_FP64",
        Datatype::Bytes => "TYPE_STRING",
    }
}
