//! `POST /v1/predict` and `/v1/predict_batch`.

use std::{borrow::Cow, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::{Validate, ValidateArgs, ValidationError, ValidationErrors};

use super::items::Items;
use crate::{
    api::{
        cache_headers, call::Call, context::Context, extract::JsonBody, openapi::schemas, room::Room, state::ApiState,
    },
    config::PredictConfig,
    error::{Error, Violation},
    model::{Input, ModelRef, Prediction},
    predict::{Asked, Predictions},
    telemetry::{labels::Stage, millis},
};

/// One item. Exactly one of `text` and `input`.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[validate(schema(function = "one_item"))]
pub(in crate::api) struct PredictBody {
    /// The model; the server's default when absent.
    model: Option<String>,
    /// The version; the model's default when absent.
    version: Option<String>,
    /// For models that take text.
    text: Option<String>,
    #[schema(value_type = Option<schemas::Input>)]
    input: Option<Input>,
}

/// Many items. Exactly one of `texts` and `inputs`.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[validate(
    context = PredictConfig,
    schema(function = "items_of_one_kind"),
    schema(function = "not_empty_nor_too_many", use_context)
)]
pub(in crate::api) struct BatchBody {
    /// The model; the server's default when absent.
    model: Option<String>,
    /// The version; the model's default when absent.
    version: Option<String>,
    /// For models that take text.
    #[schema(value_type = Option<Vec<String>>, min_items = 1)]
    texts: Option<Items<String>>,
    #[schema(value_type = Option<Vec<schemas::Input>>, min_items = 1)]
    inputs: Option<Items<Input>>,
}

/// One prediction.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PredictAnswer)]
pub(in crate::api) struct PredictAnswer<'a> {
    /// The request id.
    id: &'a str,
    model: &'a str,
    model_version: &'a str,
    /// What computes the predictions.
    #[schema(example = "onnxruntime-cpu")]
    provider: &'static str,
    #[schema(value_type = schemas::Prediction)]
    prediction: &'a Prediction,
    /// Whether it was known already.
    cached: bool,
    /// From the request to the prediction.
    latency_ms: f64,
}

/// Many predictions, in the order of the items.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchAnswer)]
pub(in crate::api) struct BatchAnswer<'a> {
    /// The request id.
    id: &'a str,
    model: &'a str,
    model_version: &'a str,
    /// What computes the predictions.
    #[schema(example = "onnxruntime-cpu")]
    provider: &'static str,
    predictions: Vec<BatchItem<'a>>,
    /// Items in all.
    count: usize,
    /// Items that were known already.
    cached_count: usize,
    /// From the request to the predictions.
    latency_ms: f64,
}

/// The answer to one item.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchItem)]
pub(in crate::api) struct BatchItem<'a> {
    #[schema(value_type = schemas::Prediction)]
    prediction: &'a Prediction,
    cached: bool,
}

/// Predict one item
#[utoipa::path(
    post,
    path = "/v1/predict",
    tag = "predictions",
    request_body(content = PredictBody, examples(
        ("text" = (value = json!({"model": "toxicity", "text": "you are awful"}))),
        ("numbers" = (value = json!({"model": "doubler", "input": [1, 2.5]}))),
        ("named inputs" = (value = json!({"model": "multi_io", "input": {"amount": [550.0, 0.0], "category": [1]}})))
    )),
    responses((status = 200, description = "The prediction", body = PredictAnswer))
)]
pub(in crate::api) async fn predict(
    call: Call,
    JsonBody(body, room): JsonBody<PredictBody>,
) -> Result<Response, Error> {
    body.validate().map_err(violations)?;
    let (pointer, input) = match (body.text, body.input) {
        (Some(text), _) => ("/text", Input::Text(text)),
        (None, Some(input)) => ("/input", input),
        (None, None) => return Err(Error::malformed("", NOT_ONE, "send either 'text' or 'input'")),
    };
    let model = ModelRef { name: body.model, version: body.version };
    let predictions = call.predict(model, Asked::Items(vec![(pointer.into(), input)]), pointer).await?;
    let context = call.context;
    answer(predictions, room, &Arc::clone(&context), move |predictions| {
        let one = predictions.predictions.first().ok_or_else(|| anyhow::anyhow!("there is no prediction"))?;
        json(
            one.prediction.elements(),
            &PredictAnswer {
                id: &context.id.0,
                model: predictions.loaded.model.id().name.as_str(),
                model_version: predictions.loaded.model.id().version.as_str(),
                provider: predictions.loaded.manifest.provider.as_str(),
                prediction: &one.prediction,
                cached: one.cached,
                latency_ms: millis(predictions.latency),
            },
        )
    })
    .await
}

/// Predict many items
///
/// The answers are in the order of the items. Validation is all or nothing, and names each bad item.
#[utoipa::path(
    post,
    path = "/v1/predict_batch",
    tag = "predictions",
    request_body(content = BatchBody, examples(
        ("texts" = (value = json!({"model": "toxicity", "texts": ["you are awful", "have a lovely day"]}))),
        ("numbers" = (value = json!({"model": "doubler", "inputs": [[1, 2.5], [3]]})))
    )),
    responses((status = 200, description = "The predictions", body = BatchAnswer))
)]
pub(in crate::api) async fn predict_batch(
    State(state): State<ApiState>,
    call: Call,
    JsonBody(body, room): JsonBody<BatchBody>,
) -> Result<Response, Error> {
    body.validate_with_args(&state.predict).map_err(violations)?;
    let (kind, inputs): (_, Vec<Input>) = match (body.texts, body.inputs) {
        (Some(texts), _) => ("/texts", texts.kept.into_iter().map(Input::Text).collect()),
        (None, inputs) => ("/inputs", inputs.map(|inputs| inputs.kept).unwrap_or_default()),
    };
    let items =
        inputs.into_iter().enumerate().map(|(index, input)| (format!("{kind}/{index}").into(), input)).collect();
    let model = ModelRef { name: body.model, version: body.version };
    let predictions = call.predict(model, Asked::Items(items), kind).await?;
    let context = call.context;
    answer(predictions, room, &Arc::clone(&context), move |predictions| {
        let items = &predictions.predictions;
        let elements = items.iter().map(|item| item.prediction.elements()).sum();
        json(
            elements,
            &BatchAnswer {
                id: &context.id.0,
                model: predictions.loaded.model.id().name.as_str(),
                model_version: predictions.loaded.model.id().version.as_str(),
                provider: predictions.loaded.manifest.provider.as_str(),
                predictions: items
                    .iter()
                    .map(|item| BatchItem { prediction: &item.prediction, cached: item.cached })
                    .collect(),
                count: items.len(),
                cached_count: items.iter().filter(|item| item.cached).count(),
                latency_ms: millis(predictions.latency),
            },
        )
    })
    .await
}

/// Writes the answer, a large one away from the async threads. It keeps the request's room until its caller has taken it.
async fn answer(
    predictions: Predictions,
    room: Room,
    context: &Context,
    write: impl FnOnce(&Predictions) -> anyhow::Result<Vec<u8>> + Send + 'static,
) -> Result<Response, Error> {
    let _watch = context.record.watch(Stage::Encode);
    let cache = predictions.cache;
    let elements: usize = predictions.predictions.iter().map(|item| item.prediction.elements()).sum();
    let body = match elements <= INLINE_ELEMENTS {
        true => write(&predictions),
        false => tokio::task::spawn_blocking(move || write(&predictions)).await.map_err(anyhow::Error::from).flatten(),
    };
    let mut response = Response::new(room.answer(body.map_err(Error::internal)?)?);
    let headers = response.headers_mut();
    // For those of the layers too: growing moves all that are there.
    headers.reserve(12);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(summary) = &cache {
        cache_headers::describe(summary, headers);
    }
    Ok(response)
}

/// Writes an answer with so many elements into memory that nearly all of them fit into as it is.
fn json(elements: usize, answer: &impl Serialize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(256 + 16 * elements);
    serde_json::to_writer(&mut bytes, answer)?;
    Ok(bytes)
}

/// Above this, writing takes longer than an async thread should be held.
const INLINE_ELEMENTS: usize = 8 * 1024;

/// The word for neither or both of two fields that exclude each other.
const NOT_ONE: &str = "not_exactly_one";

/// All words that the rules of a body use.
const CODES: [&str; 3] = [NOT_ONE, "empty_batch", "batch_too_large"];

fn one_item(body: &PredictBody) -> Result<(), ValidationError> {
    exactly_one(body.text.is_some(), body.input.is_some(), "send either 'text' or 'input'", "/input")
}

fn items_of_one_kind(body: &BatchBody) -> Result<(), ValidationError> {
    exactly_one(body.texts.is_some(), body.inputs.is_some(), "send either 'texts' or 'inputs'", "/inputs")
}

fn exactly_one(first: bool, second: bool, message: &'static str, pointer: &'static str) -> Result<(), ValidationError> {
    let pointer = if first { pointer } else { "" };
    if first == second { Err(fault(NOT_ONE, pointer, message)) } else { Ok(()) }
}

fn not_empty_nor_too_many(body: &BatchBody, limits: &PredictConfig) -> Result<(), ValidationError> {
    let (pointer, count) = match (&body.texts, &body.inputs) {
        (Some(texts), _) => ("/texts", texts.count),
        (None, Some(inputs)) => ("/inputs", inputs.count),
        (None, None) => return Ok(()),
    };
    match count {
        0 => Err(fault("empty_batch", pointer, "the batch is empty")),
        count if count > limits.max_batch_items => {
            let detail = format!("the batch has {count} items; at most {} are allowed", limits.max_batch_items);
            Err(fault("batch_too_large", pointer, detail))
        }
        _ => Ok(()),
    }
}

fn fault(code: &'static str, pointer: &'static str, detail: impl Into<Cow<'static, str>>) -> ValidationError {
    let mut error = ValidationError::new(code).with_message(detail.into());
    error.add_param("pointer".into(), &pointer);
    error
}

/// Wrong fields make a request malformed, wrong values make it invalid.
fn violations(errors: ValidationErrors) -> Error {
    let violation = |error: &ValidationError| {
        let pointer = error.params.get("pointer").and_then(|pointer| pointer.as_str()).unwrap_or_default();
        let code = CODES.into_iter().find(|code| *code == error.code).unwrap_or("invalid");
        Violation::new(pointer, code, error.message.clone().unwrap_or_default())
    };
    let violations: Vec<_> = errors.field_errors().values().flat_map(|errors| errors.iter().map(violation)).collect();
    match violations.iter().any(|violation| violation.code == NOT_ONE) {
        true => Error::Malformed(violations),
        false => Error::Invalid(violations),
    }
}
