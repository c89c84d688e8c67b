//! `ModelInfer`

use std::{collections::HashMap, time::Duration};

use axum::response::Response;
use bytes::Bytes;
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
        room::Room,
        v2::{
            infer::INLINE_BINARY,
            parameters::{Parameters, Value},
        },
    },
    error::{Error, Violation},
    model::{ModelRef, conform::NamedTensor, cost},
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
    let known = (message.len() <= INLINE_BINARY).then(|| frugal::look(&message)).transpose()?;
    let small = known.as_ref().is_some_and(|cost| cost.elements <= INLINE_BYTES);
    let most = call.most_elements();
    let read = move |room: Room, bytes: usize, message: Bytes| {
        room.read(message.len(), || {
            // The room tells why it refuses.
            match cost::take(bytes) {
                true => read(message, most),
                false => Err(Error::internal(anyhow::anyhow!("there is no room for the message"))),
            }
        })
    };
    let (wanted, room) = match (small, known) {
        (true, Some(cost)) => read(room, cost.bytes, message)?,
        // The room goes with the body: the work goes on when the caller has left.
        (_, known) => {
            let mut room = room;
            let likely = move |message: &Bytes| Ok(known.map_or_else(|| frugal::look(message), Ok)?.bytes);
            let (message, bytes) = room.expect(message, likely).await?;
            tokio::task::spawn_blocking(move || read(room, bytes, message)).await.map_err(Error::internal)??
        }
    };
    drop(decoding);
    let Wanted { model, asked } = wanted;
    let loaded = call.resolve(&model)?;
    let (inputs, timeout, form) = asked?;
    call.check_items(&loaded, &inputs)?;
    if let Some(timeout) = timeout {
        call.end_within(timeout);
    }
    let asked = Asked::Tensors { inputs, outputs: form.outputs.clone() };
    let predictions = call.predict(model, asked, "/inputs").await?;
    answer::write(predictions, form, room, &call.context).await
}

fn read(message: Bytes, most: usize) -> Result<Wanted, Error> {
    let request = ModelInferRequest::decode(message).map_err(|error| unreadable(&error))?;
    let version = Some(request.model_version.clone()).filter(|version| !version.is_empty());
    let model = ModelRef { name: Some(request.model_name.clone()), version };
    Ok(Wanted { model, asked: asked(request, most) })
}

fn asked(request: ModelInferRequest, most: usize) -> Result<(Vec<NamedTensor>, Option<Duration>, Form), Error> {
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
    let inputs = tensors::read(inputs, &request.raw_input_contents, most)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::grpc::messages::inference::{
        InferTensorContents,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    };

    fn requests() -> [ModelInferRequest; 2] {
        let input = |datatype: &str, contents| InferInputTensor {
            name: "x".to_owned(),
            datatype: datatype.to_owned(),
            shape: vec![1, 2],
            contents,
            ..Default::default()
        };
        let number = InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(7)) };
        let lists = InferTensorContents { int_contents: vec![1, -2], ..Default::default() };
        let lists = ModelInferRequest {
            model_name: "model".to_owned(),
            id: "id".to_owned(),
            parameters: [("timeout".to_owned(), number)].into(),
            inputs: vec![input("INT16", Some(lists))],
            outputs: vec![InferRequestedOutputTensor { name: "y".to_owned(), ..Default::default() }],
            ..Default::default()
        };
        let raw = vec![vec![0; 8].into(), b"\x01\0\0\0a\0\0\0\0".to_vec().into()];
        let raw = ModelInferRequest {
            inputs: vec![input("FP32", None), input("BYTES", None)],
            raw_input_contents: raw,
            ..lists.clone()
        };
        [lists, raw]
    }

    #[test]
    fn a_request_says_what_is_wanted() {
        let [lists, raw] = requests().map(|request| read(request.encode_to_vec().into(), usize::MAX).unwrap());
        assert_eq!(lists.model, ModelRef { name: Some("model".to_owned()), version: None });
        let (inputs, timeout, form) = lists.asked.unwrap();
        assert_eq!((inputs.len(), timeout), (1, Some(Duration::from_micros(7))));
        assert_eq!((form.id.as_str(), form.raw, form.outputs), ("id", false, vec!["y".to_owned()]));
        let (inputs, _, form) = raw.asked.unwrap();
        assert_eq!((inputs.len(), form.raw), (2, true));
    }

    #[test]
    fn a_message_that_was_cut_or_changed_is_read_or_refused() {
        // Xorshift: the same bytes in every run.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let mut refused = 0;
        for request in requests() {
            let message = request.encode_to_vec();
            for _ in 0..20_000 {
                let mut changed = message[..random(message.len()) + 1].to_vec();
                for _ in 0..random(4) {
                    let place = random(changed.len());
                    changed[place] = u8::try_from(random(256)).unwrap();
                }
                let read = frugal::look(&changed).and_then(|_| read(changed.into(), usize::MAX));
                refused += usize::from(read.and_then(|wanted| wanted.asked).is_err());
            }
        }
        assert!((10_000..40_000).contains(&refused), "{refused} of 40000");
    }
}
