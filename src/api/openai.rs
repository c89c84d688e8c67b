//! `POST /v1/embeddings`, as clients of OpenAI's interface ask for vectors: texts in, vectors and their tokens out.

use std::{borrow::Cow, fmt};

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use super::{cache_headers, call::Call, extract::JsonBody, openapi::schemas, state::ApiState};
use crate::{
    config::MOST_BATCH_ITEMS,
    error::{Error, Violation},
    model::{Data, Input, ModelRef, Prediction, Task, Tensor, cost},
    predict::{Asked, Predictions},
    registry::Loaded,
    telemetry::labels::{Protocol, Stage},
};
use utoipa::ToSchema;

/// What is asked for. Members that are unknown are ignored: clients send some.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub(super) struct EmbeddingsBody {
    /// The model; the server's default when absent.
    model: Option<String>,
    /// A text or a list of texts.
    #[schema(value_type = schemas::Texts)]
    input: Texts,
    #[serde(default)]
    #[schema(required = false)]
    encoding_format: Encoding,
    /// The numbers in a vector, for models of which they can be chosen: there are none here.
    dimensions: Option<usize>,
}

/// What a text takes until it is answered, beside its own bytes.
const TEXT_BYTES: usize = 512;

/// One text, or a list of which no more is kept than the configuration allows.
#[derive(Debug)]
struct Texts {
    kept: Vec<String>,
    /// All of them; `None` for one that stands in no list.
    count: Option<usize>,
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;

        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts { kept: vec![text.to_owned()], count: None })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut kept = Vec::new();
                let most = cost::max_items(MOST_BATCH_ITEMS);
                while kept.len() < most {
                    match list.next_element::<String>()? {
                        Some(text) => {
                            // Twice: for the vectors, and for the tokens.
                            cost::charge(TEXT_BYTES + 2 * cost::of_text(text.len()))?;
                            kept.push(text);
                        }
                        None => return Ok(Texts { count: Some(kept.len()), kept }),
                    }
                }
                let mut count = kept.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Texts { kept, count: Some(count) })
            }
        }

        deserializer.deserialize_any(TextsVisitor)
    }
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Encoding {
    /// As a list of numbers.
    #[default]
    Float,
    /// As FP32, little-endian, in Base64.
    Base64,
}

/// The vectors, in the order of the texts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EmbeddingsAnswer)]
pub(super) struct EmbeddingsAnswer<'a> {
    object: &'static str,
    data: Vec<Embedding<'a>>,
    model: &'a str,
    usage: Usage,
}

/// One vector.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Embedding)]
struct Embedding<'a> {
    object: &'static str,
    index: usize,
    #[schema(value_type = schemas::Vector)]
    embedding: Vector<'a>,
}

/// The tokens of all texts, special ones included; 0 for a model whose graph takes the texts themselves.
#[derive(Debug, Serialize, ToSchema)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// Make vectors of texts, as clients of OpenAI's interface ask for them
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "predictions",
    request_body = EmbeddingsBody,
    responses((status = 200, description = "The vectors", body = EmbeddingsAnswer))
)]
pub(super) async fn embeddings(
    State(state): State<ApiState>,
    mut call: Call,
    JsonBody(body, room): JsonBody<EmbeddingsBody>,
) -> Result<Response, Error> {
    call.protocol = Protocol::OpenAi;
    let model = ModelRef { name: body.model, version: None };
    let loaded = call.resolve(&model)?;
    check(&loaded, body.dimensions)?;
    let Texts { kept: texts, count } = body.input;
    let most = state.predict.max_batch_items;
    let fault = match count {
        Some(0) => Some(("empty_batch", "there is no text".to_owned())),
        Some(count) if count > most => {
            Some(("batch_too_large", format!("there are {count} texts; at most {most} are allowed")))
        }
        _ => None,
    };
    if let Some((code, detail)) = fault {
        return Err(Error::Invalid(vec![Violation::new("/input", code, detail)]));
    }
    let pointer = |index: usize| count.map_or(Cow::from("/input"), |_| format!("/input/{index}").into());
    let items = texts.iter().enumerate().map(|(index, text)| (pointer(index), Input::Text(text.clone())));
    let predictions = call.predict(model, Asked::Items(items.collect()), "/input").await?;
    let tokens = state.predictor.tokens_in(&loaded, texts, call.context.deadline, &call.context.record).await?;

    let _watch = call.context.record.watch(Stage::Encode);
    let encoding = body.encoding_format;
    let cache = predictions.cache;
    let write = move || answer(&predictions, tokens, encoding);
    let body = tokio::task::spawn_blocking(write).await.map_err(Error::internal)??;
    let mut response = Response::new(room.answer(body)?);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(summary) = &cache {
        cache_headers::describe(summary, headers);
    }
    Ok(response)
}

fn check(loaded: &Loaded, dimensions: Option<usize>) -> Result<(), Error> {
    let fault = |pointer: &str, code, detail: String| Err(Error::Invalid(vec![Violation::new(pointer, code, detail)]));
    let name = &loaded.model.id().name;
    if loaded.manifest.task != Task::Embedding || loaded.manifest.text.is_none() {
        return fault("/model", "no_embeddings", format!("model '{name}' makes no vectors of texts"));
    }
    let own = loaded.interface.outputs.first().and_then(|spec| spec.shape.last());
    match (dimensions, own) {
        (Some(wanted), Some(own)) if !own.admits(wanted) => {
            fault("/dimensions", "wrong_length", format!("vectors of model '{name}' have {own} numbers"))
        }
        _ => Ok(()),
    }
}

fn answer(predictions: &Predictions, tokens: usize, encoding: Encoding) -> Result<Vec<u8>, Error> {
    let data = predictions.predictions.iter().map(|predicted| vector(&predicted.prediction)).enumerate();
    let embedding = |(index, tensor)| Embedding { object: "embedding", index, embedding: Vector { tensor, encoding } };
    let data: Option<Vec<Embedding<'_>>> = data.map(|(index, tensor)| Some(embedding((index, tensor?)))).collect();
    let data = data.ok_or_else(|| {
        let detail = "this model gives a vector for each token: '/v1/predict' tells them";
        Error::Invalid(vec![Violation::new("/model", "no_embeddings", detail)])
    })?;
    let answer = EmbeddingsAnswer {
        object: "list",
        data,
        model: predictions.loaded.model.id().name.as_str(),
        usage: Usage { prompt_tokens: tokens, total_tokens: tokens },
    };
    serde_json::to_vec(&answer).map_err(Error::internal)
}

fn vector(prediction: &Prediction) -> Option<&Tensor> {
    let Prediction::Value(value) = prediction else { return None };
    (value.tensor.shape().len() == 1).then_some(&value.tensor)
}

/// One vector, on its way out.
#[derive(Debug)]
struct Vector<'a> {
    tensor: &'a Tensor,
    encoding: Encoding,
}

impl Serialize for Vector<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers = floats(self.tensor.data());
        match self.encoding {
            Encoding::Float => numbers.serialize(serializer),
            Encoding::Base64 => {
                let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                serializer.serialize_str(&STANDARD.encode(bytes))
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the interface knows no wider ones")]
fn floats(data: &Data) -> Cow<'_, [f32]> {
    match data {
        Data::Fp32(values) => Cow::Borrowed(values),
        Data::Fp64(values) => values.iter().map(|value| *value as f32).collect(),
        Data::Fp16(values) => values.iter().map(|value| value.to_f32()).collect(),
        Data::Bf16(values) => values.iter().map(|value| value.to_f32()).collect(),
        // No embedding is anything else: the manifest's task was held against the graph.
        _ => Cow::Borrowed(&[]),
    }
}
