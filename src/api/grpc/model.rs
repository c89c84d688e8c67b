//! `ModelReady`, `ModelMetadata`, `ModelConfig`, `ModelStatistics`: what `/v2` says of a model, as messages.

use axum::extract::State;

use super::{
    call::{Answer, Call},
    messages::inference::{
        DataType, InferBatchStatistics, InferStatistics, ModelConfig, ModelConfigRequest, ModelConfigResponse,
        ModelDynamicBatching, ModelInput, ModelInstanceGroup, ModelMetadataRequest, ModelMetadataResponse, ModelOutput,
        ModelReadyRequest, ModelReadyResponse, ModelResponseCache, ModelStatistics, ModelStatisticsRequest,
        ModelStatisticsResponse, ModelTensorReshape, StatisticDuration, model_config::SchedulingChoice,
        model_instance_group::Kind, model_metadata_response::TensorMetadata,
    },
};
use crate::{
    api::{
        call::Call as Asked,
        state::ApiState,
        v2::{
            config::{self, TensorConfig},
            model, statistics,
        },
    },
    error::Error,
    model::ModelRef,
};

/// Empty is not said.
fn named(name: String, version: String) -> ModelRef {
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    ModelRef { name: said(name), version: said(version) }
}

/// `ModelReady`: no model is a model that is not ready, as Triton has it.
pub(in crate::api) async fn ready(
    asked: Asked,
    Call(ModelReadyRequest { name, version }): Call<ModelReadyRequest>,
) -> Result<Answer<ModelReadyResponse>, Error> {
    match asked.find(&named(name, version)) {
        Ok(_) => Ok(Answer(ModelReadyResponse { ready: true })),
        Err(Error::ModelNotReady { .. } | Error::ModelNotFound { .. }) => {
            Ok(Answer(ModelReadyResponse { ready: false }))
        }
        Err(error) => Err(error),
    }
}

/// `ModelMetadata`
pub(in crate::api) async fn metadata(
    State(state): State<ApiState>,
    asked: Asked,
    Call(ModelMetadataRequest { name, version }): Call<ModelMetadataRequest>,
) -> Result<Answer<ModelMetadataResponse>, Error> {
    let found = model::describe(&state, &asked, &named(name, version))?;
    let tensor = |spec: model::TensorMetadata| TensorMetadata {
        name: spec.name,
        datatype: spec.datatype.as_str().to_owned(),
        shape: spec.shape,
    };
    Ok(Answer(ModelMetadataResponse {
        name: found.name,
        versions: found.versions,
        platform: found.platform.to_owned(),
        inputs: found.inputs.into_iter().map(tensor).collect(),
        outputs: found.outputs.into_iter().map(tensor).collect(),
    }))
}

/// `ModelConfig`
pub(in crate::api) async fn config(
    asked: Asked,
    Call(ModelConfigRequest { name, version }): Call<ModelConfigRequest>,
) -> Result<Answer<ModelConfigResponse>, Error> {
    let found = config::describe(&asked, &named(name, version))?;
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let data_type = |spec: &TensorConfig| DataType::from_str_name(spec.data_type).unwrap_or_default().into();
    let reshape = |spec: &TensorConfig| spec.reshape.as_ref().map(|_| ModelTensorReshape::default());
    let input = |spec: TensorConfig| ModelInput {
        data_type: data_type(&spec),
        reshape: reshape(&spec),
        name: spec.name,
        dims: spec.dims,
    };
    let output = |spec: TensorConfig| ModelOutput {
        data_type: data_type(&spec),
        reshape: reshape(&spec),
        name: spec.name,
        dims: spec.dims,
    };
    let group = |group: &config::InstanceGroup| ModelInstanceGroup {
        count: count(group.count),
        kind: Kind::from_str_name(group.kind).unwrap_or_default().into(),
    };
    let batching = |batching: config::DynamicBatching| {
        let max_queue_delay_microseconds = batching.max_queue_delay_microseconds;
        SchedulingChoice::DynamicBatching(ModelDynamicBatching { max_queue_delay_microseconds })
    };
    let config = ModelConfig {
        name: found.name,
        platform: found.platform.to_owned(),
        backend: found.backend.to_owned(),
        max_batch_size: count(found.max_batch_size),
        input: found.input.into_iter().map(input).collect(),
        output: found.output.into_iter().map(output).collect(),
        instance_group: found.instance_group.iter().map(group).collect(),
        scheduling_choice: found.dynamic_batching.map(batching),
        response_cache: Some(ModelResponseCache { enable: found.response_cache.enable }),
    };
    Ok(Answer(ModelConfigResponse { config: Some(config) }))
}

/// `ModelStatistics`
pub(in crate::api) async fn statistics(
    State(state): State<ApiState>,
    asked: Asked,
    Call(ModelStatisticsRequest { name, version }): Call<ModelStatisticsRequest>,
) -> Result<Answer<ModelStatisticsResponse>, Error> {
    let found = statistics::collect(&state, &asked, &named(name, version))?;
    Ok(Answer(ModelStatisticsResponse { model_stats: found.into_iter().map(told).collect() }))
}

fn told(found: statistics::ModelStatistics) -> ModelStatistics {
    let time = |time: statistics::Duration| Some(StatisticDuration { count: time.count, ns: time.ns });
    let batch = |batch: statistics::BatchStatistics| InferBatchStatistics {
        batch_size: batch.batch_size as u64,
        compute_input: time(batch.compute_input),
        compute_infer: time(batch.compute_infer),
        compute_output: time(batch.compute_output),
    };
    let times = found.inference_stats;
    ModelStatistics {
        name: found.name,
        version: found.version,
        last_inference: found.last_inference,
        inference_count: found.inference_count,
        execution_count: found.execution_count,
        inference_stats: Some(InferStatistics {
            success: time(times.success),
            fail: time(times.fail),
            queue: time(times.queue),
            compute_input: time(times.compute_input),
            compute_infer: time(times.compute_infer),
            compute_output: time(times.compute_output),
            cache_hit: time(times.cache_hit),
            cache_miss: time(times.cache_miss),
        }),
        batch_stats: found.batch_stats.into_iter().map(batch).collect(),
    }
}
