//! A look at a message before it is read: two bytes can stand for a part that takes hundreds in memory.

use bytes::Buf;
use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use super::call::unreadable;
use crate::error::Error;

/// Inputs, outputs, raw contents and parameters of one request. No model has more.
const MOST_PARTS: usize = 4096;

/// Where they stand in a request, and where tensors and parameters stand in an input and in an output.
const PARAMETERS: u32 = 4;
const INPUTS: u32 = 5;
const OUTPUTS: u32 = 6;
const RAW_CONTENTS: u32 = 7;
const INPUT_PARAMETERS: u32 = 4;
const INPUT_CONTENTS: u32 = 5;
const OUTPUT_PARAMETERS: u32 = 2;

/// What a request will take to be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    parts: usize,
    /// Bytes of elements that are read one by one.
    pub elements: usize,
}

/// Looks at a request for inference.
///
/// # Errors
/// `malformed_request` for one that has too many parts, or breaks off.
pub(super) fn look(message: &[u8]) -> Result<Cost, Error> {
    let cost = count(message).map_err(|error| unreadable(&error))?;
    match cost.parts <= MOST_PARTS {
        true => Ok(cost),
        false => {
            let detail = format!("the request has more than {MOST_PARTS} inputs, outputs and parameters");
            Err(Error::malformed("", "too_many_parts", detail))
        }
    }
}

fn count(message: &[u8]) -> Result<Cost, DecodeError> {
    let mut cost = Cost::default();
    walk(message, |tag, field| {
        match tag {
            PARAMETERS | RAW_CONTENTS => cost.parts += 1,
            INPUTS => {
                cost.parts += 1;
                walk(field, |tag, field| {
                    match tag {
                        INPUT_PARAMETERS => cost.parts += 1,
                        INPUT_CONTENTS => cost.elements += field.len(),
                        _ => {}
                    }
                    Ok(())
                })?;
            }
            OUTPUTS => {
                cost.parts += 1;
                walk(field, |tag, _| {
                    cost.parts += usize::from(tag == OUTPUT_PARAMETERS);
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(cost)
}

/// Shows every field that has a length.
fn walk(mut message: &[u8], mut see: impl FnMut(u32, &[u8]) -> Result<(), DecodeError>) -> Result<(), DecodeError> {
    while message.has_remaining() {
        let (tag, wire_type) = decode_key(&mut message)?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, tag, &mut message, DecodeContext::default())?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut message)?).unwrap_or(usize::MAX);
        // What breaks off is for the reader to say.
        let Some((field, rest)) = message.split_at_checked(length) else { return Ok(()) };
        see(tag, field)?;
        message = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::api::grpc::messages::inference::{
        InferParameter, InferTensorContents, ModelInferRequest,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    };

    #[test]
    fn parts_are_counted_wherever_they_stand() {
        let parameter = || ("name".to_owned(), InferParameter::default());
        let contents = InferTensorContents { fp32_contents: vec![1.0; 10], ..Default::default() };
        let request = ModelInferRequest {
            model_name: "model".to_owned(),
            parameters: [parameter()].into(),
            inputs: vec![InferInputTensor {
                parameters: [parameter()].into(),
                contents: Some(contents),
                ..Default::default()
            }],
            outputs: vec![InferRequestedOutputTensor { parameters: [parameter()].into(), ..Default::default() }],
            raw_input_contents: vec![vec![0; 1000].into()],
            ..Default::default()
        };
        assert_eq!(look(&request.encode_to_vec()).unwrap(), Cost { parts: 6, elements: 42 });
    }

    #[test]
    fn two_bytes_that_stand_for_hundreds_are_refused_in_large_numbers() {
        for tag in [INPUTS, OUTPUTS, RAW_CONTENTS, PARAMETERS] {
            let part = [u8::try_from(tag << 3 | 2).unwrap(), 0];
            assert!(look(&part.repeat(MOST_PARTS)).is_ok());
            assert!(look(&part.repeat(MOST_PARTS + 1)).is_err(), "tag {tag}");
        }
    }
}
