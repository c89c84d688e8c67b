//! A look at a message before it is read: two bytes can stand for a part that takes hundreds in memory.

use bytes::Buf;
use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use super::call::unreadable;
use crate::{
    error::{Error, Violation},
    model::{
        MAX_DIMENSIONS,
        binary::{BinaryFault, too_many_dimensions},
        cost::of_text,
    },
};

/// Inputs, outputs, raw contents and parameters of one request. No model has more.
const MOST_PARTS: usize = 4096;

/// What one of them takes, whatever is in it.
const PART_BYTES: usize = 512;

/// Where they stand in a request, and where tensors and parameters stand in an input and in an output.
const PARAMETERS: u32 = 4;
const INPUTS: u32 = 5;
const OUTPUTS: u32 = 6;
const RAW_CONTENTS: u32 = 7;
const INPUT_SHAPE: u32 = 3;
const INPUT_PARAMETERS: u32 = 4;
const INPUT_CONTENTS: u32 = 5;
const OUTPUT_PARAMETERS: u32 = 2;

/// The list of strings among the lists of elements, and what a string takes there before it is one.
const BYTES_CONTENTS: u32 = 8;
const SLICE_BYTES: usize = size_of::<bytes::Bytes>();

/// What a request will take to be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    parts: usize,
    /// Bytes of elements that are read one by one.
    pub elements: usize,
    /// Bytes of memory that become of it, beside its own.
    pub bytes: usize,
    /// The first input whose shape has too many dimensions, and how many.
    misshapen: Option<(usize, usize)>,
}

/// Looks at a request for inference.
///
/// # Errors
/// `malformed_request` for one that has too many parts, or breaks off; `invalid_input` for a shape that no tensor has.
pub(super) fn look(message: &[u8]) -> Result<Cost, Error> {
    let mut cost = count(message).map_err(|error| unreadable(&error))?;
    if cost.parts > MOST_PARTS {
        return Err(too_many_parts("inputs, outputs and parameters"));
    }
    if let Some((place, dimensions)) = cost.misshapen {
        let BinaryFault { code, detail } = too_many_dimensions(dimensions);
        return Err(Error::Invalid(vec![Violation::new(format!("/inputs/{place}"), code, detail)]));
    }
    cost.bytes += cost.parts * PART_BYTES;
    Ok(cost)
}

/// Looks at a request of another kind, none of which has parts within its parts.
///
/// # Errors
/// `malformed_request` for one that has too many parts, or breaks off.
pub(super) fn look_flat(message: &[u8]) -> Result<(), Error> {
    let mut parts = 0;
    let walked = walk(message, |_, field| {
        parts += usize::from(field.is_some());
        Ok(())
    });
    walked.map_err(|error| unreadable(&error))?;
    if parts > MOST_PARTS { Err(too_many_parts("names and parameters")) } else { Ok(()) }
}

fn too_many_parts(what: &str) -> Error {
    Error::malformed("", "too_many_parts", format!("the request has more than {MOST_PARTS} {what}"))
}

fn count(message: &[u8]) -> Result<Cost, DecodeError> {
    let (mut cost, mut place) = (Cost::default(), 0);
    walk(message, |tag, field| {
        match (tag, field) {
            (PARAMETERS | RAW_CONTENTS, Some(_)) => cost.parts += 1,
            (INPUTS, Some(input)) => {
                cost.parts += 1;
                count_input(input, place, &mut cost)?;
                place += 1;
            }
            (OUTPUTS, Some(output)) => {
                cost.parts += 1;
                walk(output, |tag, field| {
                    cost.parts += usize::from(tag == OUTPUT_PARAMETERS && field.is_some());
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(cost)
}

fn count_input(input: &[u8], place: usize, cost: &mut Cost) -> Result<(), DecodeError> {
    let mut dimensions = 0;
    walk(input, |tag, field| {
        match (tag, field) {
            (INPUT_SHAPE, packed) => dimensions += packed.map_or(1, varints),
            (INPUT_PARAMETERS, Some(_)) => cost.parts += 1,
            (INPUT_CONTENTS, Some(contents)) => {
                cost.elements += contents.len();
                walk(contents, |list, elements| {
                    cost.bytes += element_bytes(list, elements);
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    })?;
    if dimensions > MAX_DIMENSIONS && cost.misshapen.is_none() {
        cost.misshapen = Some((place, dimensions));
    }
    Ok(())
}

/// What one field of the lists of elements takes: a packed list, one string, or one number.
fn element_bytes(list: u32, elements: Option<&[u8]>) -> usize {
    match (list, elements) {
        (BYTES_CONTENTS, Some(text)) => SLICE_BYTES + of_text(text.len()),
        // Numbers of fixed width take what they took, and those of 8 and 16 bits are read into 32.
        (1, Some(packed)) => varints(packed),
        (2 | 4, Some(packed)) => varints(packed) * (size_of::<u32>() + size_of::<u16>()),
        (3 | 5, Some(packed)) => varints(packed) * size_of::<u64>(),
        (6 | 7, Some(packed)) => packed.len(),
        (_, Some(_)) => 0,
        (_, None) => size_of::<u64>(),
    }
}

/// How many numbers of variable length these are: each ends with a byte below 128.
fn varints(packed: &[u8]) -> usize {
    packed.iter().filter(|byte| **byte < 0x80).count()
}

/// Shows every field: with its bytes, or none for one without a length.
fn walk(
    mut message: &[u8],
    mut see: impl FnMut(u32, Option<&[u8]>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while message.has_remaining() {
        let (tag, wire_type) = decode_key(&mut message)?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, tag, &mut message, DecodeContext::default())?;
            see(tag, None)?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut message)?).unwrap_or(usize::MAX);
        // What breaks off is for the reader to say.
        let Some((field, rest)) = message.split_at_checked(length) else { return Ok(()) };
        see(tag, Some(field))?;
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
        let cost = Cost { parts: 6, elements: 42, bytes: 6 * PART_BYTES + 40, misshapen: None };
        assert_eq!(look(&request.encode_to_vec()).unwrap(), cost);
    }

    #[test]
    fn two_bytes_that_stand_for_hundreds_are_refused_in_large_numbers() {
        for tag in [INPUTS, OUTPUTS, RAW_CONTENTS, PARAMETERS] {
            let part = [u8::try_from(tag << 3 | 2).unwrap(), 0];
            assert!(look(&part.repeat(MOST_PARTS)).is_ok());
            assert!(look(&part.repeat(MOST_PARTS + 1)).is_err(), "tag {tag}");
        }
    }

    fn with(input: InferInputTensor) -> Vec<u8> {
        ModelInferRequest { inputs: vec![input], ..Default::default() }.encode_to_vec()
    }

    #[test]
    fn elements_cost_what_becomes_of_them() {
        let empty = InferTensorContents::default;
        for (contents, bytes) in [
            (InferTensorContents { bytes_contents: vec![bytes::Bytes::new(); 100], ..empty() }, 100 * (32 + 24)),
            (InferTensorContents { int64_contents: vec![1; 100], ..empty() }, 800),
            (InferTensorContents { int64_contents: vec![-1; 100], ..empty() }, 800),
            (InferTensorContents { uint_contents: vec![300; 100], ..empty() }, 600),
            (InferTensorContents { bool_contents: vec![true; 100], ..empty() }, 100),
        ] {
            let cost = look(&with(InferInputTensor { contents: Some(contents), ..Default::default() })).unwrap();
            assert_eq!(cost.bytes, PART_BYTES + bytes, "{cost:?}");
        }
        // Not packed, as some clients write them.
        let one_by_one = [0x18, 1].repeat(100);
        let cost = look(&[&[0x2a, 203, 1, 0x2a, 200, 1][..], &one_by_one].concat()).unwrap();
        assert_eq!(cost.bytes, PART_BYTES + 800);
    }

    #[test]
    fn a_shape_that_no_tensor_has_is_refused_before_it_is_read() {
        let shaped = |dimensions| with(InferInputTensor { shape: vec![1; dimensions], ..Default::default() });
        assert!(look(&shaped(MAX_DIMENSIONS)).is_ok());
        let error = look(&shaped(MAX_DIMENSIONS + 1)).unwrap_err();
        assert_eq!((&*error.violations()[0].pointer, error.violations()[0].code), ("/inputs/0", "wrong_shape"));
        let one_by_one = [0x18, 1].repeat(MAX_DIMENSIONS + 1);
        assert!(look(&[&[0x2a, 130, 1][..], &one_by_one].concat()).is_err());
    }
}
