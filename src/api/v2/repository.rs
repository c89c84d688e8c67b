//! `POST /v2/repository/…`: which models there are, and which of them are served.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{parameters::Parameters, received::Received, refused::Refused};
use crate::{
    api::{auth::Caller, extract::parse, openapi::schemas, state::ApiState},
    error::{Error, Violation},
    registry::{ModelEntry, State as VersionState},
};

/// What is asked for; all of it is optional, and so is the body.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub(in crate::api) struct RepositoryBody {
    /// Only what is ready.
    #[serde(default)]
    ready: bool,
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, schemas::Parameter>>)]
    parameters: Parameters,
}

/// One version; or a model that has none, whose version is empty.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct IndexEntry {
    pub name: String,
    pub version: String,
    pub state: &'static str,
    pub reason: String,
}

/// Every version that lies in the repository, served or not
#[utoipa::path(
    post,
    path = "/v2/repository/index",
    operation_id = "repository_index",
    tag = "open inference protocol",
    request_body(content = Option<RepositoryBody>, content_type = "application/json"),
    responses((status = 200, description = "OK", body = Vec<IndexEntry>))
)]
pub(in crate::api) async fn index(
    State(state): State<ApiState>,
    caller: Caller,
    received: Received,
) -> Result<Json<Vec<IndexEntry>>, Refused> {
    let only_ready = body(&received)?.ready;
    Ok(Json(list(&state, &caller, only_ready).await?))
}

/// The same in whatever form it is told: what the caller may know of.
///
/// # Errors
/// `internal`, where the repository cannot be read.
pub(in crate::api) async fn list(
    state: &ApiState,
    caller: &Caller,
    only_ready: bool,
) -> Result<Vec<IndexEntry>, Error> {
    let unknown = state.registry.unknown().await.map_err(Error::internal)?;
    let snapshot = state.registry.snapshot();
    let mut entries: Vec<IndexEntry> =
        snapshot.models.iter().flat_map(|(name, entry)| of_model(name.as_str(), entry)).collect();
    let unknown = unknown.into_iter().map(|name| IndexEntry {
        name: name.to_string(),
        version: String::new(),
        state: UNAVAILABLE,
        reason: "it has come into the repository since the start; it can be loaded".to_owned(),
    });
    entries.extend(unknown);
    entries.retain(|entry| caller.may_use(&entry.name) && (!only_ready || entry.state == READY));
    Ok(entries)
}

const READY: &str = "READY";
const UNAVAILABLE: &str = "UNAVAILABLE";

fn of_model(name: &str, entry: &ModelEntry) -> Vec<IndexEntry> {
    let line = |version: String, state, reason: &str| IndexEntry {
        name: name.to_owned(),
        version,
        state,
        reason: reason.to_owned(),
    };
    let fault = entry.fault.iter().map(|fault| line(String::new(), UNAVAILABLE, fault));
    let versions = entry.versions.iter().map(|(version, state)| {
        let (state, reason) = match state {
            VersionState::Ready(_) => (READY, ""),
            VersionState::Loading => ("LOADING", ""),
            VersionState::Failed(reason) | VersionState::NotBuilt(reason) => (UNAVAILABLE, &**reason),
            VersionState::Unloaded => (UNAVAILABLE, "unloaded"),
            VersionState::Absent(_) => (UNAVAILABLE, "no worker serves it"),
        };
        line(version.to_string(), state, reason)
    });
    fault.chain(versions).collect()
}

/// Read a model anew, and serve it in place of what is served of it
#[utoipa::path(
    post,
    path = "/v2/repository/models/{model}/load",
    operation_id = "repository_load",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler")),
    request_body(content = Option<RepositoryBody>, content_type = "application/json"),
    responses((status = 200, description = "OK", body = Object))
)]
pub(in crate::api) async fn load(
    State(state): State<ApiState>,
    caller: Caller,
    Path(model): Path<String>,
    received: Received,
) -> Result<Json<serde_json::Value>, Refused> {
    caller.check_model(&state, Some(&model))?;
    body(&received)?;
    state.registry.reload(&state.loader, &state.lifecycle, &model).await?;
    Ok(Json(serde_json::Value::Object(serde_json::Map::new())))
}

/// Serve a model no more
#[utoipa::path(
    post,
    path = "/v2/repository/models/{model}/unload",
    operation_id = "repository_unload",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler")),
    request_body(content = Option<RepositoryBody>, content_type = "application/json"),
    responses((status = 200, description = "OK", body = Object))
)]
pub(in crate::api) async fn unload(
    State(state): State<ApiState>,
    caller: Caller,
    Path(model): Path<String>,
    received: Received,
) -> Result<Json<serde_json::Value>, Refused> {
    caller.check_model(&state, Some(&model))?;
    body(&received)?;
    state.registry.unload(&state.loader, &model).await?;
    Ok(Json(serde_json::Value::Object(serde_json::Map::new())))
}

fn body(received: &Received) -> Result<RepositoryBody, Error> {
    let body = received.body.trim_ascii();
    let body: RepositoryBody =
        if body.is_empty() { RepositoryBody::default() } else { parse::<Option<_>>(body)?.unwrap_or_default() };
    match body.parameters.unsupported {
        None => Ok(body),
        Some(name) => {
            let detail = format!("'{name}' is not supported: a model is loaded as it lies in the repository");
            Err(Error::Invalid(vec![Violation::new("/parameters", "unsupported_parameter", detail)]))
        }
    }
}
