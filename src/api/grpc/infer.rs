//! `ModelInfer`

use std::{collections::HashMap, time::Duration};

use axum::response::Response;
use prost::Message;

use super::{
    answer::{self, Form},
    call::{Received, unreadable},
    frugal,
    messages::inference::{InferParameter, ModelInferRequest, infer_parameter::ParameterChoice},
    tensors,
};
use crate::{
    api::{
        call::Call,
        extract::INLINE_BYTES,
        v2::{
            infer::INLINE_BINARY,
            parameters::{Parameters, Value},
        },
    },
    error::{Error, Violation},
    model::{ModelRef, conform::NamedTensor},
    predict::Asked,
    telemetry::labels::{Protocol, Stage},
};

/// What a request says of itself. An unknown model is one, whatever its tensors are.
struct Wanted {
    model: ModelRef,
    asked: Result<(Vec<NamedTensor>, Option<Duration>, Form), Error>,
}

/// `ModelInfer`
pub(in crate::api) async fn infer(mut call: Call, received: Received) -> Result<Response, Error> {
    call.protocol = Protocol::Grpc;
    let decoding = call.context.record.watch(Stage::Decode);
    let Received { message, room } = received;
    let small = message.len() <= INLINE_BINARY && frugal::look(&message)?.elements <= INLINE_BYTES;
    let (wanted, room) = match small {
        true => (read(message)?, room),
        // The room goes with the body: the work goes on when the caller has left.
        false => {
            let work = tokio::task::spawn_blocking(move || {
                frugal::look(&message)?;
                Ok((read(message)?, room))
            });
            work.await.map_err(Error::internal)??
        }
    };
    drop(decoding);
    let Wanted { model, asked } = wanted;
    call.resolve(&model)?;
    let (inputs, timeout, form) = asked?;
    if let Some(timeout) = timeout {
        call.end_within(timeout);
    }
    let asked = Asked::Tensors { inputs, outputs: form.outputs.clone() };
    let predictions = call.predict(model, asked, "/inputs").await?;
    answer::write(predictions, form, room, &call.context).await
}

fn read(message: bytes::Bytes) -> Result<Wanted, Error> {
    let request = ModelInferRequest::decode(message).map_err(|error| unreadable(&error))?;
    let version = Some(request.model_version.clone()).filter(|version| !version.is_empty());
    let model = ModelRef { name: Some(request.model_name.clone()), version };
    Ok(Wanted { model, asked: asked(request) })
}

fn asked(request: ModelInferRequest) -> Result<(Vec<NamedTensor>, Option<Duration>, Form), Error> {
    let timeout = parameters(request.parameters, "/parameters")?.timeout.map(Duration::from_micros);
    let mut inputs = request.inputs;
    for (place, input) in inputs.iter_mut().enumerate() {
        parameters(std::mem::take(&mut input.parameters), &format!("/inputs/{place}"))?;
    }
    let mut outputs = Vec::with_capacity(request.outputs.len());
    for (place, output) in request.outputs.into_iter().enumerate() {
        parameters(output.parameters, &format!("/outputs/{place}"))?;
        outputs.push(output.name);
    }
    // As they come, so they go; and as bytes where nothing comes.
    let raw = !request.raw_input_contents.is_empty() || inputs.is_empty();
    let inputs = tensors::read(inputs, &request.raw_input_contents)?;
    Ok((inputs, timeout, Form { id: request.id, raw, outputs }))
}

/// The parameters at `place` that mean something here.
fn parameters(given: HashMap<String, InferParameter>, place: &str) -> Result<Parameters, Error> {
    let mut parameters = Parameters::default();
    for (name, InferParameter { parameter_choice }) in given {
        let value = match parameter_choice {
            Some(ParameterChoice::BoolParam(flag)) => Value::Bool(flag),
            Some(ParameterChoice::Int64Param(number)) => Value::Number(u64::try_from(number).ok()),
            Some(ParameterChoice::Uint64Param(number)) => Value::Number(Some(number)),
            Some(ParameterChoice::DoubleParam(_)) => Value::Number(None),
            Some(ParameterChoice::StringParam(text)) => Value::Text(text),
            None => continue,
        };
        parameters.set(&name, value).map_err(|detail| Error::malformed(place, "wrong_type", detail))?;
    }
    match parameters.unsupported {
        None => Ok(parameters),
        Some(name) => {
            let detail = format!("'{name}' is not supported here");
            Err(Error::Invalid(vec![Violation::new(place, "unsupported_parameter", detail)]))
        }
    }
}
