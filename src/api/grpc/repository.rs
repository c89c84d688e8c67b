//! `RepositoryIndex`, `RepositoryModelLoad`, `RepositoryModelUnload`: which models there are, and which of them are served.

use std::collections::HashMap;

use axum::extract::State;

use super::{
    call::{Answer, Call},
    messages::inference::{
        ModelRepositoryParameter, RepositoryIndexRequest, RepositoryIndexResponse, RepositoryModelLoadRequest,
        RepositoryModelLoadResponse, RepositoryModelUnloadRequest, RepositoryModelUnloadResponse,
        repository_index_response::ModelIndex,
    },
};
use crate::{
    api::{
        auth::Caller,
        state::ApiState,
        v2::repository::{IndexEntry, list},
    },
    error::{Error, Violation},
};

/// `RepositoryIndex`
pub(in crate::api) async fn index(
    State(state): State<ApiState>,
    caller: Caller,
    Call(request): Call<RepositoryIndexRequest>,
) -> Result<Answer<RepositoryIndexResponse>, Error> {
    let entries = list(&state, &caller, request.ready).await?;
    let told =
        |IndexEntry { name, version, state, reason }| ModelIndex { name, version, state: state.to_owned(), reason };
    Ok(Answer(RepositoryIndexResponse { models: entries.into_iter().map(told).collect() }))
}

/// `RepositoryModelLoad`
pub(in crate::api) async fn load(
    State(state): State<ApiState>,
    caller: Caller,
    Call(request): Call<RepositoryModelLoadRequest>,
) -> Result<Answer<RepositoryModelLoadResponse>, Error> {
    caller.check_model(&state, Some(&request.model_name))?;
    check(&request.parameters)?;
    state.registry.reload(&state.loader, &state.lifecycle, &request.model_name).await?;
    Ok(Answer(RepositoryModelLoadResponse {}))
}

/// `RepositoryModelUnload`
pub(in crate::api) async fn unload(
    State(state): State<ApiState>,
    caller: Caller,
    Call(request): Call<RepositoryModelUnloadRequest>,
) -> Result<Answer<RepositoryModelUnloadResponse>, Error> {
    caller.check_model(&state, Some(&request.model_name))?;
    check(&request.parameters)?;
    state.registry.unload(&state.loader, &request.model_name).await?;
    Ok(Answer(RepositoryModelUnloadResponse {}))
}

/// A model is loaded as it lies in the repository: neither with other settings nor with other files. Whether models are
/// unloaded that only this one uses is asked by clients by themselves; there are none.
fn check(parameters: &HashMap<String, ModelRepositoryParameter>) -> Result<(), Error> {
    let supported = |name: &&String| *name == "config" || name.starts_with("file:");
    match parameters.keys().find(supported) {
        None => Ok(()),
        Some(_) => {
            let detail = "'config' and 'file:…' are not supported: a model is loaded as it lies in the repository";
            Err(Error::Invalid(vec![Violation::new("/parameters", "unsupported_parameter", detail)]))
        }
    }
}
