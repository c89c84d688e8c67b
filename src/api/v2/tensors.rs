//! From the wire to named tensors: JSON data, the binary part, and the raw form.

use super::body::{InputBody, Shape};
use crate::{
    error::{Error, Violation},
    model::{
        Data, Datatype, Dim, MAX_DIMENSIONS, Signature, Tensor,
        binary::{self, BinaryFault},
        conform::{NamedTensor, convert},
        cost,
        nested::Nested,
    },
    registry::shorten,
};

/// What is wrong with an input.
type Fault = (&'static str, String);

/// The tensors of a request, those in `binary` taken off its front one after the other. `most` is how many elements a body
/// could hold.
///
/// # Errors
/// `invalid_input` with the first input that does not fit what it says of itself.
pub(super) fn read(inputs: Vec<InputBody>, mut binary: &[u8], most: usize) -> Result<Vec<NamedTensor>, Error> {
    let mut tensors = Vec::with_capacity(inputs.len());
    for (place, input) in inputs.into_iter().enumerate() {
        let name = input.name.clone();
        let tensor = tensor(input, &mut binary, most).map_err(|(code, detail)| {
            // Clients show their users nothing but these words.
            invalid(place, code, format!("input '{}': {detail}", shorten(&name)))
        })?;
        tensors.push(NamedTensor { name, tensor });
    }
    match binary.len() {
        0 => Ok(tensors),
        surplus => {
            let detail =
                format!("bytes are left after the last input: {surplus}; 'binary_data_size' says how many each has");
            Err(Error::Invalid(vec![Violation::new("/inputs", "wrong_length", detail)]))
        }
    }
}

fn tensor(input: InputBody, binary: &mut &[u8], most: usize) -> Result<Tensor, Fault> {
    if let Some(name) = input.parameters.unsupported {
        return Err(("unsupported_parameter", format!("'{name}' is not supported here")));
    }
    let Shape { kept: shape, count } = input.shape;
    if count > MAX_DIMENSIONS {
        return Err(binary::too_many_dimensions(count).into());
    }
    match (input.data, input.parameters.binary_data_size) {
        (None, Some(size)) => {
            let (own, rest) = usize::try_from(size).ok().and_then(|size| binary.split_at_checked(size)).ok_or_else(|| {
                let detail = format!(
                    "'binary_data_size' is {size}, and {} bytes are left after the JSON: is its length in the header \
                     'Inference-Header-Content-Length'?",
                    binary.len()
                );
                ("wrong_length", detail)
            })?;
            *binary = rest;
            binary::decode(input.datatype, &shape, own, most).map_err(BinaryFault::into)
        }
        (Some(data), None) => from_json(input.datatype, &shape, data, most),
        (Some(_), Some(_)) => Err(("not_exactly_one", "the input has both 'data' and a 'binary_data_size'".to_owned())),
        (None, None) => Err(("not_exactly_one", "the input has neither 'data' nor a 'binary_data_size'".to_owned())),
    }
}

/// `data` is nested like the shape, or flat.
fn from_json(datatype: Datatype, shape: &[i64], data: Nested, most: usize) -> Result<Tensor, Fault> {
    if matches!(datatype, Datatype::Fp16 | Datatype::Bf16) {
        return Err(("wrong_datatype", format!("{datatype} has no form in JSON: send it as binary data")));
    }
    if let Some(fault) = data.missing.or(data.fault) {
        let place: String = fault.path.iter().map(|index| format!("/{index}")).collect();
        return Err((fault.code, format!("{}, at data{place}", fault.detail)));
    }
    let (shape, count) = binary::elements(shape, most)?;
    let nested = &data.shape[..];
    // What lies inside of an empty list cannot be written.
    let empty = count == 0 && nested.last() == Some(&0) && shape.starts_with(nested);
    if nested != shape && *nested != [count] && !empty {
        let detail =
            format!("'data' has the shape {nested:?}: the input's is {shape:?}, and flat data has {count} elements");
        return Err(("wrong_shape", detail));
    }
    // Beside the numbers that it is made of, until those are gone. Strings are moved.
    if !cost::take(count * datatype.width().unwrap_or_default()) {
        return Err(("no_room", "there is no room for the tensor".to_owned()));
    }
    let elements = convert(data.leaves, datatype, false)
        .map_err(|misfit| (misfit.code, format!("{}, at element {}", misfit.detail, misfit.leaf)))?;
    Tensor::new(shape, elements).ok_or_else(|| ("wrong_shape", "the elements do not fill the shape".to_owned()))
}

/// A body that is nothing but the only input of a model: its shape is what the bytes fill.
///
/// # Errors
/// `invalid_input` for a model with other inputs, or several dynamic dimensions; and for bytes that do not fit.
pub(super) fn raw(interface: &Signature, bytes: &[u8], most: usize) -> Result<NamedTensor, Error> {
    let [input] = &interface.inputs[..] else {
        return Err(invalid(0, "inputs_not_named", "only a model with one input takes a body without JSON".to_owned()));
    };
    let name = input.name.to_string();
    let tensor = match input.datatype.width() {
        None => {
            // One string, all of it, and nothing that says how long it is.
            let text = binary::text(bytes, 0).map_err(|fault| invalid(0, fault.code, fault.detail))?;
            Tensor::new(vec![1; input.shape.len()], Data::Bytes(vec![text]))
                .ok_or_else(|| invalid(0, "wrong_shape", "the text fills no tensor".to_owned()))?
        }
        Some(width) => {
            let shape = filled(&input.shape, bytes.len(), width).ok_or_else(|| {
                let detail = format!("{} bytes fill no shape of {input} that is the only one", bytes.len());
                invalid(0, "wrong_shape", detail)
            })?;
            binary::decode(input.datatype, &shape, bytes, most).map_err(|fault| invalid(0, fault.code, fault.detail))?
        }
    };
    Ok(NamedTensor { name, tensor })
}

/// The shape that so many bytes fill, where at most one dimension is open beside the batch.
fn filled(declared: &[Dim], bytes: usize, width: usize) -> Option<Vec<i64>> {
    let is_open = |dim: &Dim| matches!(dim, Dim::Dynamic(_));
    let fixed = declared.iter().try_fold(width, |product, dim| match dim {
        Dim::Fixed(size) => product.checked_mul(*size),
        Dim::Dynamic(_) => Some(product),
    })?;
    // Of two, the first is the batch: one row.
    let one_row = declared.iter().filter(|dim| is_open(dim)).count() == 2 && declared.first().is_some_and(is_open);
    let open = declared.iter().skip(usize::from(one_row)).filter(|dim| is_open(dim)).count();
    if open > 1 || (open == 1 && (fixed == 0 || !bytes.is_multiple_of(fixed))) {
        return None;
    }
    let size = |(place, dim): (usize, &Dim)| match dim {
        Dim::Fixed(size) => i64::try_from(*size).ok(),
        Dim::Dynamic(_) if place == 0 && one_row => Some(1),
        Dim::Dynamic(_) => i64::try_from(bytes / fixed).ok(),
    };
    declared.iter().enumerate().map(size).collect()
}

fn invalid(place: usize, code: &'static str, detail: String) -> Error {
    Error::Invalid(vec![Violation::new(format!("/inputs/{place}"), code, detail)])
}

impl From<BinaryFault> for Fault {
    fn from(fault: BinaryFault) -> Self {
        (fault.code, fault.detail)
    }
}
