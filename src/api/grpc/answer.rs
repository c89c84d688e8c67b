//! The answer to `ModelInfer`.

use axum::response::Response;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};

use super::{
    call, frame,
    messages::inference::{ModelInferResponse, model_infer_response::InferOutputTensor},
    tensors,
};
use crate::{
    api::{
        cache_headers,
        context::Context,
        room::Room,
        v2::answer::{BYTES_PER_ELEMENT, INLINE_ELEMENTS},
    },
    error::Error,
    model::binary,
    predict::{OutputTensor, Predictions},
    telemetry::labels::Stage,
};

/// Where `raw_output_contents` stand.
const RAW_CONTENTS: u32 = 6;

/// How an answer is wanted.
#[derive(Debug)]
pub(super) struct Form {
    /// Said back.
    pub id: String,
    /// Whether outputs are wanted as bytes, and not as lists.
    pub raw: bool,
    /// Those that are wanted; all when empty.
    pub outputs: Vec<String>,
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
    let body = match cost(&predictions, &form) <= INLINE_ELEMENTS {
        true => encode(&predictions, form)?,
        false => tokio::task::spawn_blocking(move || encode(&predictions, form)).await.map_err(Error::internal)??,
    };
    let mut response = call::answer(room.answer(body)?);
    if let Some(summary) = &cache {
        cache_headers::describe(summary, response.headers_mut());
    }
    Ok(response)
}

fn cost(predictions: &Predictions, form: &Form) -> usize {
    let elements: usize = predictions.predictions.iter().map(|item| item.prediction.elements()).sum();
    if form.raw { elements * size_of::<f64>() / BYTES_PER_ELEMENT } else { elements }
}

fn encode(predictions: &Predictions, form: Form) -> Result<Vec<u8>, Error> {
    let outputs = predictions.outputs(&form.outputs)?;
    // All outputs are told in one form: bytes, where one of them has no other.
    let raw = form.raw || outputs.iter().any(|output| !tensors::has_list(output.tensor.data().datatype()));
    let too_large = |name: &str| Error::internal(anyhow::anyhow!("output '{name}' is too large to be written"));
    let length =
        |output: &OutputTensor<'_>| binary::encoded_len(output.tensor.data()).ok_or_else(|| too_large(output.name));
    let lengths = if raw { outputs.iter().map(length).collect::<Result<_, _>>()? } else { Vec::new() };
    let id = predictions.loaded.model.id();
    let head = ModelInferResponse {
        model_name: id.name.to_string(),
        model_version: id.version.to_string(),
        id: form.id,
        outputs: outputs.iter().map(|output| described(output, raw)).collect(),
        ..ModelInferResponse::default()
    };
    // What stands before each of the bytes takes up to 11.
    let mut body = frame::begin(head.encoded_len() + lengths.iter().map(|length| length + 11).sum::<usize>());
    head.encode(&mut body).map_err(Error::internal)?;
    // Straight into the body: as a field of the message, they would be copied twice.
    for (output, length) in outputs.iter().zip(lengths) {
        encode_key(RAW_CONTENTS, WireType::LengthDelimited, &mut body);
        encode_varint(length as u64, &mut body);
        binary::encode(output.tensor.data(), &mut body);
    }
    frame::finish(&mut body)?;
    Ok(body)
}

fn described(OutputTensor { name, tensor }: &OutputTensor<'_>, raw: bool) -> InferOutputTensor {
    InferOutputTensor {
        name: (*name).to_owned(),
        datatype: tensor.data().datatype().as_str().to_owned(),
        shape: tensor.shape().iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect(),
        contents: (!raw).then(|| tensors::contents(tensor.data())),
        ..InferOutputTensor::default()
    }
}
