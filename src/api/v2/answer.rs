//! The answer to an inference request: JSON, and behind it the outputs that are wanted as binary.

use axum::{
    http::{HeaderValue, header},
    response::Response,
};
use serde::{Serialize, Serializer, ser::SerializeSeq};
use utoipa::ToSchema;

use super::{division::JSON_LENGTH, infer::in_json};
use crate::{
    api::{cache_headers, context::Context, openapi::schemas, pieces::Pieces, room::Room},
    error::{Error, Violation},
    model::{Data, Datatype, Signature, binary},
    predict::{OutputTensor, Predictions},
    telemetry::labels::Stage,
};

/// Above this, writing takes longer than an async thread should be held: numbers in JSON, or so many bytes as binary.
pub(in crate::api) const INLINE_ELEMENTS: usize = 8 * 1024;
pub(in crate::api) const BYTES_PER_ELEMENT: usize = 256;

/// How an answer is wanted.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// Said back.
    pub id: Option<String>,
    /// Whether outputs are wanted as binary that nobody named.
    pub all_binary: bool,
    /// Those that are wanted, and whether as binary; all when empty.
    pub outputs: Vec<(String, bool)>,
}

impl Form {
    /// All outputs, as binary.
    pub(super) fn all_binary() -> Self {
        Self { all_binary: true, ..Self::default() }
    }

    /// The outputs that are wanted; all when empty.
    pub(super) fn names(&self) -> Vec<String> {
        self.outputs.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Checks before anything is run that every wanted output can be written.
    ///
    /// # Errors
    /// `invalid_input` for halves in JSON.
    pub(super) fn check(&self, interface: &Signature) -> Result<(), Error> {
        for spec in &interface.outputs {
            let named = self.outputs.iter().position(|(name, _)| *name == *spec.name);
            let (wanted, pointer) = match named {
                Some(place) => (true, format!("/outputs/{place}")),
                None => (self.outputs.is_empty(), "/outputs".to_owned()),
            };
            if wanted && !self.is_binary(&spec.name) && !in_json(spec.datatype) {
                let detail = format!(
                    "output '{}' is {}, which has no form in JSON: ask for it with the parameter 'binary_data', or for \
                     all with 'binary_data_output'",
                    spec.name, spec.datatype
                );
                return Err(Error::Invalid(vec![Violation::new(pointer, "wrong_datatype", detail)]));
            }
        }
        Ok(())
    }

    fn is_binary(&self, name: &str) -> bool {
        self.outputs.iter().find(|(own, _)| own == name).map_or(self.all_binary, |(_, binary)| *binary)
    }
}

/// The outputs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InferAnswer)]
pub(in crate::api) struct InferAnswer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<OutputAnswer<'a>>,
}

/// One output.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InferOutput)]
struct OutputAnswer<'a> {
    name: &'a str,
    #[schema(value_type = schemas::Datatype)]
    datatype: Datatype,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Binary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Value>>)]
    data: Option<Flat<'a>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Binary {
    binary_data_size: usize,
}

/// Writes the answer, a large one away from the async threads. It keeps the request's room until its caller has taken it.
///
/// # Errors
/// `invalid_input` where texts gave outputs of no common shape; `overloaded`, `internal`.
pub(super) async fn write(
    predictions: Predictions,
    form: Form,
    room: Room,
    context: &Context,
) -> Result<Response, Error> {
    let _watch = context.record.watch(Stage::Encode);
    let cache = predictions.cache;
    let small = cost(&predictions, &form) <= INLINE_ELEMENTS;
    let (pieces, json) = match small {
        true => encode(&predictions, &form)?,
        false => tokio::task::spawn_blocking(move || encode(&predictions, &form)).await.map_err(Error::internal)??,
    };
    let binary = (json < pieces.len()).then_some(json);
    let mut response = Response::new(pieces.answer(room)?);
    let headers = response.headers_mut();
    // For those of the layers too: growing moves all that are there.
    headers.reserve(12);
    let media_type = if binary.is_some() { "application/octet-stream" } else { "application/json" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(json) = binary {
        headers.insert(JSON_LENGTH, json.into());
    }
    if let Some(summary) = &cache {
        cache_headers::describe(summary, headers);
    }
    Ok(response)
}

fn cost(predictions: &Predictions, form: &Form) -> usize {
    let elements: usize = predictions.predictions.iter().map(|item| item.prediction.elements()).sum();
    let json = match &form.outputs[..] {
        [] => !form.all_binary,
        named => named.iter().any(|(_, binary)| !binary),
    };
    if json { elements } else { elements * size_of::<f64>() / BYTES_PER_ELEMENT }
}

/// The body, and how much of it is JSON.
fn encode(predictions: &Predictions, form: &Form) -> Result<(Pieces, usize), Error> {
    let outputs = predictions.outputs(&form.names())?;
    let (mut elements, mut bytes) = (0, 0);
    let mut described = Vec::with_capacity(outputs.len());
    let mut lent = Vec::with_capacity(outputs.len());
    for OutputTensor { name, tensor } in &outputs {
        let data = tensor.data();
        let size = match form.is_binary(name) {
            false => None,
            true => Some(
                binary::encoded_len(data)
                    .ok_or_else(|| Error::internal(anyhow::anyhow!("output '{name}' is too large to be written")))?,
            ),
        };
        lent.push(size.and_then(|_| predictions.lend(name)));
        bytes += if matches!(lent.last(), Some(None)) { size.unwrap_or_default() } else { 0 };
        elements += if size.is_none() { data.len() } else { 0 };
        described.push(OutputAnswer {
            name,
            datatype: data.datatype(),
            shape: tensor.shape(),
            parameters: size.map(|binary_data_size| Binary { binary_data_size }),
            data: size.is_none().then_some(Flat(data)),
        });
    }
    let id = predictions.loaded.model.id();
    let answer = InferAnswer {
        model_name: id.name.as_str(),
        model_version: id.version.as_str(),
        id: form.id.as_deref(),
        outputs: described,
    };
    let mut body = Vec::with_capacity(256 + 96 * outputs.len() + 16 * elements + bytes);
    serde_json::to_writer(&mut body, &answer).map_err(Error::internal)?;
    let json = body.len();
    let mut pieces = Pieces::from(body);
    for (output, lent) in outputs.iter().zip(lent) {
        match lent {
            Some(lent) => pieces.lend(lent),
            None if form.is_binary(output.name) => binary::encode(output.tensor.data(), pieces.own()),
            None => {}
        }
    }
    Ok((pieces, json))
}

/// Elements as one list, row-major. NaN and infinity become `null`, as JSON has no word for them.
#[derive(Debug)]
struct Flat<'a>(&'a Data);

impl Serialize for Flat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        macro_rules! list {
            ($($plain:ident)* | $($half:ident)*) => {
                match self.0 {
                    $(Data::$plain(values) => values.serialize(serializer),)*
                    // Asked for as JSON by nobody: see `Form::check`.
                    $(Data::$half(values) => {
                        let mut list = serializer.serialize_seq(Some(values.len()))?;
                        values.iter().try_for_each(|value| list.serialize_element(&value.to_f32()))?;
                        list.end()
                    })*
                }
            };
        }
        list!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp32 Fp64 Bytes | Fp16 Bf16)
    }
}
