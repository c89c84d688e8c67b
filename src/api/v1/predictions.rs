//! `GET /v1/predictions`, `/v1/predictions/{id}` and `DELETE /v1/predictions`: what was predicted, and its end.

mod answer;
mod export;
mod wanted;

use std::sync::Arc;

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

pub use self::export::ExportForm;
pub(in crate::api) use self::export::{EXPORTS_AT_ONCE, MAX_EXPORT_BYTES};
use self::{
    answer::StoredPrediction,
    export::Export,
    wanted::{Forgotten, Wanted, cursor},
};
use crate::{
    api::{auth::Caller, context::Context, room::Room, state::ApiState},
    error::Error,
    history::{History, Trouble, Window},
    keys::Scope,
};

/// A page of predictions.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct StoredPredictions {
    /// The latest first.
    predictions: Vec<StoredPrediction>,
    /// The cursor of the next page; `null` on the last one.
    next: Option<String>,
}

/// What was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Deleted {
    /// Predictions that are no more.
    deleted: u64,
}

/// What was predicted, the latest first
///
/// A key sees its own predictions, and with the scope `admin` those of all. What was predicted within the last
/// `history.flush_interval` may not be there yet. With `Accept: application/x-ndjson` or `text/csv`, all that fits is sent
/// as a stream, a line each.
#[utoipa::path(
    get,
    path = "/v1/predictions",
    operation_id = "predictions",
    tag = "predictions",
    params(Wanted),
    responses((status = 200, description = "The predictions", content(
        (StoredPredictions = "application/json"),
        (String = "application/x-ndjson"),
        (String = "text/csv"),
    )))
)]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Extension(context): Extension<Arc<Context>>,
    caller: Caller,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Error> {
    let history = history(&state)?;
    let wanted = query(wanted)?;
    let limit = wanted.limit()?;
    let filter = wanted.filter(own(&caller))?;
    if let Some(form) = ExportForm::accepted(&headers) {
        let room = Room::for_export(&state, &context, Export::MOST_BYTES)?;
        let export = Export::begin(history, filter, limit, form).await.map_err(lost)?;
        let mut response = Body::from_stream(export.chunks(room)).into_response();
        for (name, value) in [(header::CONTENT_TYPE, form.media_type()), (header::CONTENT_DISPOSITION, form.file())] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        return Ok(vary(response));
    }
    let rows = limit.unwrap_or(wanted::USUAL).min(wanted::MOST);
    let page = history.page(filter, Window { rows, oldest_first: false }).await.map_err(lost)?;
    let next = page.rows.last().filter(|_| page.more).map(|row| cursor(row.id));
    let room = Room::enter(&state, &context)?;
    let written = tokio::task::spawn_blocking(move || {
        let predictions = page.rows.into_iter().map(StoredPrediction::of).collect();
        Ok(serde_json::to_vec(&StoredPredictions { predictions, next })?)
    });
    let bytes = written.await.map_err(anyhow::Error::from).flatten().map_err(Error::internal)?;
    let mut response = Response::new(room.answer(bytes)?);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(vary(response))
}

/// One prediction
///
/// By its own id, or by that of its request, if that was for one item.
#[utoipa::path(
    get,
    path = "/v1/predictions/{id}",
    operation_id = "prediction",
    tag = "predictions",
    params(("id" = String, Path, description = "The prediction's id, or its request's")),
    responses((status = 200, description = "The prediction", body = StoredPrediction))
)]
pub(in crate::api) async fn one(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<StoredPrediction>, Error> {
    let row = history(&state)?.find(&id, own(&caller)).await.map_err(lost)?;
    row.map(|row| Json(StoredPrediction::of(row))).ok_or(Error::PredictionNotFound)
}

/// Forget what was predicted
///
/// Of one key, of a time, or both. It is over when the answer comes; a failure leaves deleted what was deleted by then.
#[utoipa::path(
    delete,
    path = "/v1/predictions",
    operation_id = "forget_predictions",
    tag = "predictions",
    params(Forgotten),
    responses((status = 200, description = "They are gone", body = Deleted))
)]
pub(in crate::api) async fn forget(
    State(state): State<ApiState>,
    forgotten: Result<Query<Forgotten>, QueryRejection>,
) -> Result<Json<Deleted>, Error> {
    let history = history(&state)?;
    let filter = query(forgotten)?.filter()?;
    Ok(Json(Deleted { deleted: history.forget(filter).await.map_err(lost)? }))
}

/// Where no history is kept, these routes are not there.
fn history(state: &ApiState) -> Result<Arc<History>, Error> {
    state.history.clone().ok_or(Error::NotFound)
}

fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Error> {
    query.map(|Query(query)| query).map_err(|error| {
        Error::malformed("", "invalid_query", format!("the query cannot be read: {}", error.body_text()))
    })
}

/// The key whose predictions alone the caller may see, if there are others.
fn own(caller: &Caller) -> Option<String> {
    match caller {
        Caller::Key(principal) if !principal.has(Scope::Admin) => Some(principal.key_id.to_string()),
        Caller::Key(_) | Caller::Open => None,
    }
}

fn lost(trouble: Trouble) -> Error {
    Error::DependencyUnavailable(trouble.to_string())
}

/// The same address gives another answer to who accepts something else.
fn vary(mut response: Response) -> Response {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
    response
}
