//! `POST /v2/models/{model}/infer`

use std::time::Duration;

use axum::{extract::Path, response::Response};

use super::{
    answer::{self, Form, InferAnswer},
    body::{InferBody, OutputBody},
    division::Division,
    received::Received,
    refused::Refused,
    tensors,
};
use crate::{
    api::{
        call::Call,
        extract::{INLINE_BYTES, parse},
        room::{Room, likely_bytes},
    },
    error::{Error, Violation},
    model::{Datatype, ModelRef, Signature, conform::NamedTensor},
    predict::Asked,
    telemetry::labels::{Protocol, Stage},
};

/// Binary tensors of more bytes than this take longer to be copied than an async thread should be held.
pub(in crate::api) const INLINE_BINARY: usize = 2 * 1024 * 1024;

/// Run a model on tensors
#[utoipa::path(
    post,
    path = "/v2/models/{model}/infer",
    operation_id = "model_infer",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler")),
    request_body(content((InferBody = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses((status = 200, description = "The outputs", content((InferAnswer = "application/json"), (Vec<u8> = "application/octet-stream"))))
)]
pub(in crate::api) async fn infer(
    Path(model): Path<String>,
    call: Call,
    received: Received,
) -> Result<Response, Refused> {
    let model = ModelRef { name: Some(model), version: None };
    Ok(run(model, call, received).await?)
}

/// Run a version on tensors
#[utoipa::path(
    post,
    path = "/v2/models/{model}/versions/{version}/infer",
    operation_id = "model_version_infer",
    tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name", example = "doubler"), ("version" = String, Path, description = "The version's name", example = "1")),
    request_body(content((InferBody = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses((status = 200, description = "The outputs", content((InferAnswer = "application/json"), (Vec<u8> = "application/octet-stream"))))
)]
pub(in crate::api) async fn infer_version(
    Path((model, version)): Path<(String, String)>,
    call: Call,
    received: Received,
) -> Result<Response, Refused> {
    let model = ModelRef { name: Some(model), version: Some(version) };
    Ok(run(model, call, received).await?)
}

/// What a request says, in nobody's protocol but the form of its answer.
struct Wanted {
    inputs: Vec<NamedTensor>,
    timeout: Option<Duration>,
    form: Form,
}

async fn run(model: ModelRef, mut call: Call, received: Received) -> Result<Response, Error> {
    call.protocol = Protocol::OpenInference;
    let loaded = call.resolve(&model)?;
    let decoding = call.context.record.watch(Stage::Decode);
    let Received { body, division, room } = received;
    let small = match division {
        Division::Json => body.len() <= INLINE_BYTES,
        Division::Binary(json) => json <= INLINE_BYTES && body.len() <= INLINE_BINARY,
        Division::Raw => body.len() <= INLINE_BINARY,
    };
    let (interface, most) = (loaded.interface.clone(), call.most_elements());
    let read = move |room: Room, body: &[u8]| room.read(body.len(), || read(&interface, division, body, most));
    let (wanted, room) = match small {
        true => read(room, &body)?,
        // The room goes with the body: the work goes on when the caller has left.
        false => {
            let mut room = room;
            let likely = move |body: &Vec<u8>| {
                let (json, _) = division.split(body)?;
                // The numbers, and the tensor that is made of them.
                Ok(if division == Division::Raw { 0 } else { 2 * likely_bytes(json) })
            };
            let (body, _) = room.expect(body, likely).await?;
            tokio::task::spawn_blocking(move || read(room, &body)).await.map_err(Error::internal)??
        }
    };
    drop(decoding);
    let Wanted { inputs, timeout, form } = wanted;
    form.check(&loaded.interface)?;
    call.check_items(&loaded, &inputs)?;
    if let Some(timeout) = timeout {
        call.end_within(timeout);
    }
    let asked = Asked::Tensors { inputs, outputs: form.names() };
    let predictions = call.predict(model, asked, "/inputs").await?;
    answer::write(predictions, form, room, &call.context).await
}

fn read(interface: &Signature, division: Division, body: &[u8], most: usize) -> Result<Wanted, Error> {
    let (json, binary) = division.split(body)?;
    if division == Division::Raw {
        let inputs = vec![tensors::raw(interface, binary, most)?];
        return Ok(Wanted { inputs, timeout: None, form: Form::all_binary() });
    }
    let InferBody { id, parameters, inputs, outputs } = parse(json)?;
    let inputs = tensors::read(inputs.0, binary, most)?;
    let all_binary = parameters.binary_data_output.unwrap_or_default();
    let output = |(place, OutputBody { name, parameters }): (usize, OutputBody)| match parameters.unsupported {
        Some(parameter) => {
            let detail = format!("'{parameter}' is not supported here");
            Err(Error::Invalid(vec![Violation::new(format!("/outputs/{place}"), "unsupported_parameter", detail)]))
        }
        None => Ok((name, parameters.binary_data.unwrap_or(all_binary))),
    };
    let outputs = outputs.0.into_iter().enumerate().map(output).collect::<Result<_, _>>()?;
    let timeout = parameters.timeout.map(Duration::from_micros);
    Ok(Wanted { inputs, timeout, form: Form { id, all_binary, outputs } })
}

/// Whether a datatype has a form in JSON that all readers agree on.
pub(super) const fn in_json(datatype: Datatype) -> bool {
    !matches!(datatype, Datatype::Fp16 | Datatype::Bf16)
}
