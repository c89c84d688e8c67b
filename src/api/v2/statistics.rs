//! `GET /v2/models…/stats`: what the requests of each version came to since it was loaded.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{call::Call, state::ApiState},
    error::Error,
    model::ModelRef,
    registry::{Loaded, State as VersionState},
    telemetry::statistics::{Tally, Totals},
};

/// `GET /v2/models/stats`
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct AllStatistics {
    model_stats: Vec<ModelStatistics>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ModelStatistics {
    pub name: String,
    pub version: String,
    /// Milliseconds since 1970.
    pub last_inference: u64,
    pub inference_count: u64,
    pub execution_count: u64,
    pub inference_stats: InferenceStatistics,
    /// Of models that answer several times, which none does here.
    response_stats: serde_json::Map<String, serde_json::Value>,
    pub batch_stats: Vec<BatchStatistics>,
    #[schema(value_type = Vec<Object>)]
    memory_usage: [(); 0],
}

#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct InferenceStatistics {
    pub success: Duration,
    pub fail: Duration,
    pub queue: Duration,
    pub compute_input: Duration,
    pub compute_infer: Duration,
    pub compute_output: Duration,
    pub cache_hit: Duration,
    pub cache_miss: Duration,
}

/// Of runs with so many rows. Inputs and outputs are made for requests and not for runs: their times are above.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct BatchStatistics {
    pub batch_size: usize,
    pub compute_input: Duration,
    pub compute_infer: Duration,
    pub compute_output: Duration,
}

/// How often, and for how many nanoseconds altogether.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = CountAndTime)]
pub(in crate::api) struct Duration {
    pub count: u64,
    pub ns: u64,
}

/// What the requests of all models came to
#[utoipa::path(
    get,
    path = "/v2/models/stats",
    operation_id = "all_statistics",
    tag = "open inference protocol",
    responses((status = 200, description = "OK", body = AllStatistics))
)]
pub(in crate::api) async fn all(State(state): State<ApiState>, call: Call) -> Result<Json<AllStatistics>, Error> {
    show(&state, &call, ModelRef::default())
}

/// What the requests of a model came to
#[utoipa::path(
    get,
    path = "/v2/models/{model}/stats",
    operation_id = "model_statistics",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler")),
    responses((status = 200, description = "OK", body = AllStatistics))
)]
pub(in crate::api) async fn model(
    State(state): State<ApiState>,
    call: Call,
    Path(model): Path<String>,
) -> Result<Json<AllStatistics>, Error> {
    show(&state, &call, ModelRef { name: Some(model), version: None })
}

/// What the requests of a version came to
#[utoipa::path(
    get,
    path = "/v2/models/{model}/versions/{version}/stats",
    operation_id = "model_version_statistics",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler"), ("version" = String, Path, description = "The version's name", example = "1")),
    responses((status = 200, description = "OK", body = AllStatistics))
)]
pub(in crate::api) async fn version(
    State(state): State<ApiState>,
    call: Call,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<AllStatistics>, Error> {
    show(&state, &call, ModelRef { name: Some(model), version: Some(version) })
}

fn show(state: &ApiState, call: &Call, model: ModelRef) -> Result<Json<AllStatistics>, Error> {
    Ok(Json(AllStatistics { model_stats: collect(state, call, &model)? }))
}

/// What is meant by `model`, in whatever form it is told: all versions of all models where it names none, and all of one
/// model where it names no version.
///
/// # Errors
/// `permission_denied`, `model_not_found`, `model_not_ready`.
pub(in crate::api) fn collect(state: &ApiState, call: &Call, model: &ModelRef) -> Result<Vec<ModelStatistics>, Error> {
    let snapshot = state.registry.snapshot();
    if model.name.is_none() {
        let caller = call.context.caller()?;
        let entries = snapshot.models.iter().filter(|(name, _)| caller.may_use(name.as_str()));
        return Ok(entries.flat_map(|(_, entry)| entry.versions.values()).filter_map(of_state).collect());
    }
    let found = call.find(model)?;
    if model.version.is_some() {
        return Ok(vec![of(&found)]);
    }
    let versions = snapshot.models.get(&found.model.id().name).into_iter().flat_map(|entry| entry.versions.values());
    Ok(versions.filter_map(of_state).collect())
}

fn of_state(state: &VersionState) -> Option<ModelStatistics> {
    match state {
        VersionState::Ready(loaded) => Some(of(loaded)),
        _ => None,
    }
}

fn of(loaded: &Loaded) -> ModelStatistics {
    let totals = loaded.metrics.statistics.totals();
    let Totals { success, fail, queue, compute: [input, infer, output], cache_hit, cache_miss, .. } = totals;
    let batch = |(batch_size, infer): (&usize, &Tally)| BatchStatistics {
        batch_size: *batch_size,
        compute_input: Duration { count: infer.count, ns: 0 },
        compute_infer: (*infer).into(),
        compute_output: Duration { count: infer.count, ns: 0 },
    };
    ModelStatistics {
        name: loaded.model.id().name.to_string(),
        version: loaded.model.id().version.to_string(),
        last_inference: totals.last_inference_ms,
        inference_count: totals.inferences,
        execution_count: totals.executions,
        inference_stats: InferenceStatistics {
            success: success.into(),
            fail: fail.into(),
            queue: queue.into(),
            compute_input: input.into(),
            compute_infer: infer.into(),
            compute_output: output.into(),
            cache_hit: cache_hit.into(),
            cache_miss: cache_miss.into(),
        },
        response_stats: serde_json::Map::new(),
        batch_stats: totals.batches.iter().map(batch).collect(),
        memory_usage: [],
    }
}

impl From<Tally> for Duration {
    fn from(Tally { count, ns }: Tally) -> Self {
        Self { count, ns }
    }
}
