//! From messages to named tensors, and back: bytes as they are in memory, or lists of numbers.

use bytes::Bytes;

use super::messages::inference::{InferTensorContents, model_infer_request::InferInputTensor};
use crate::{
    error::{Error, Violation},
    model::{
        Data, Datatype, Tensor,
        binary::{self, BinaryFault},
        conform::NamedTensor,
    },
};

/// What is wrong with an input.
type Fault = (&'static str, String);

/// The tensors of a request; their elements are in `raw`, in the same order, or else in the inputs themselves.
/// `most` is how many elements a message could hold.
///
/// # Errors
/// `invalid_input` with the first input that does not fit what it says of itself.
pub(super) fn read(inputs: Vec<InferInputTensor>, raw: &[Bytes], most: usize) -> Result<Vec<NamedTensor>, Error> {
    if !raw.is_empty() && raw.len() != inputs.len() {
        let detail = format!("there are {} raw_input_contents for {} inputs", raw.len(), inputs.len());
        return Err(Error::Invalid(vec![Violation::new("/raw_input_contents", "wrong_length", detail)]));
    }
    let mut tensors = Vec::with_capacity(inputs.len());
    for (place, input) in inputs.into_iter().enumerate() {
        let InferInputTensor { name, datatype, shape, contents, .. } = input;
        // Some clients always send the lists, and nothing in them.
        let contents = contents.filter(|contents| filled(contents).next().is_some());
        let tensor = datatype_of(&datatype).and_then(|datatype| match (raw.get(place), contents) {
            (Some(_), Some(_)) => {
                Err(("not_exactly_one", "the input has contents, and raw_input_contents are there too".to_owned()))
            }
            (Some(bytes), None) => {
                binary::decode(datatype, &shape, bytes, most).map_err(|BinaryFault { code, detail }| (code, detail))
            }
            (None, contents) => listed(datatype, &shape, contents.unwrap_or_default(), most),
        });
        let fault = |(code, detail)| Error::Invalid(vec![Violation::new(format!("/inputs/{place}"), code, detail)]);
        tensors.push(NamedTensor { name, tensor: tensor.map_err(fault)? });
    }
    Ok(tensors)
}

fn datatype_of(name: &str) -> Result<Datatype, Fault> {
    Datatype::parse(name).ok_or_else(|| {
        let known = Datatype::ALL.map(Datatype::as_str).join(", ");
        ("unknown_datatype", format!("the datatype is none of {known}"))
    })
}

/// The list for a datatype; none for those that have no list.
const fn list(datatype: Datatype) -> Option<&'static str> {
    Some(match datatype {
        Datatype::Bool => "bool_contents",
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => "int_contents",
        Datatype::Int64 => "int64_contents",
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => "uint_contents",
        Datatype::Uint64 => "uint64_contents",
        Datatype::Fp32 => "fp32_contents",
        Datatype::Fp64 => "fp64_contents",
        Datatype::Bytes => "bytes_contents",
        Datatype::Fp16 | Datatype::Bf16 => return None,
    })
}

/// Whether elements of this datatype have a list of their own.
pub(super) const fn has_list(datatype: Datatype) -> bool {
    list(datatype).is_some()
}

fn listed(datatype: Datatype, shape: &[i64], contents: InferTensorContents, most: usize) -> Result<Tensor, Fault> {
    let Some(own) = list(datatype) else {
        return Err(("wrong_datatype", format!("{datatype} has no list: send it in raw_input_contents")));
    };
    if let Some(other) = filled(&contents).find(|name| *name != own) {
        return Err(("wrong_datatype", format!("{datatype} is sent in {own}, and {other} is not empty")));
    }
    let data = elements(datatype, contents)?;
    let (shape, count) = binary::elements(shape, most).map_err(|BinaryFault { code, detail }| (code, detail))?;
    let given = data.len();
    Tensor::new(shape, data)
        .ok_or_else(|| ("wrong_shape", format!("{own} has {given} elements, and the shape says {count}")))
}

/// The lists in which something is.
fn filled(contents: &InferTensorContents) -> impl Iterator<Item = &'static str> {
    let lists = [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ];
    lists.into_iter().filter(|(_, elements)| *elements > 0).map(|(name, _)| name)
}

fn elements(datatype: Datatype, contents: InferTensorContents) -> Result<Data, Fault> {
    let InferTensorContents { int_contents: int, uint_contents: uint, .. } = contents;
    Ok(match datatype {
        Datatype::Bool => Data::Bool(contents.bool_contents),
        Datatype::Int8 => Data::Int8(narrow(datatype, int)?),
        Datatype::Int16 => Data::Int16(narrow(datatype, int)?),
        Datatype::Int32 => Data::Int32(int),
        Datatype::Int64 => Data::Int64(contents.int64_contents),
        Datatype::Uint8 => Data::Uint8(narrow(datatype, uint)?),
        Datatype::Uint16 => Data::Uint16(narrow(datatype, uint)?),
        Datatype::Uint32 => Data::Uint32(uint),
        Datatype::Uint64 => Data::Uint64(contents.uint64_contents),
        Datatype::Fp32 => Data::Fp32(contents.fp32_contents),
        Datatype::Fp64 => Data::Fp64(contents.fp64_contents),
        // Those that have no list were refused.
        Datatype::Bytes | Datatype::Fp16 | Datatype::Bf16 => {
            let text = |(place, bytes): (usize, &Bytes)| binary::text(bytes, place);
            let texts = contents.bytes_contents.iter().enumerate().map(text).collect::<Result<_, _>>();
            Data::Bytes(texts.map_err(|BinaryFault { code, detail }| (code, detail))?)
        }
    })
}

/// Numbers of a datatype that is narrower than its list.
fn narrow<N, W: TryInto<N>>(datatype: Datatype, values: Vec<W>) -> Result<Vec<N>, Fault> {
    let number = |(place, value): (usize, W)| {
        let out = |_| ("out_of_range", format!("element {place} is outside of what {datatype} can hold"));
        value.try_into().map_err(out)
    };
    values.into_iter().enumerate().map(number).collect()
}

/// The elements as a list; none of those that have no list.
pub(super) fn contents(data: &Data) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    match data {
        Data::Bool(values) => contents.bool_contents.clone_from(values),
        Data::Int8(values) => contents.int_contents = widen(values),
        Data::Int16(values) => contents.int_contents = widen(values),
        Data::Int32(values) => contents.int_contents.clone_from(values),
        Data::Int64(values) => contents.int64_contents.clone_from(values),
        Data::Uint8(values) => contents.uint_contents = widen(values),
        Data::Uint16(values) => contents.uint_contents = widen(values),
        Data::Uint32(values) => contents.uint_contents.clone_from(values),
        Data::Uint64(values) => contents.uint64_contents.clone_from(values),
        Data::Fp32(values) => contents.fp32_contents.clone_from(values),
        Data::Fp64(values) => contents.fp64_contents.clone_from(values),
        Data::Bytes(texts) => {
            contents.bytes_contents = texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
        }
        // Written as bytes.
        Data::Fp16(_) | Data::Bf16(_) => {}
    }
    contents
}

fn widen<N: Copy + Into<W>, W>(values: &[N]) -> Vec<W> {
    values.iter().map(|value| (*value).into()).collect()
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    const MOST: usize = 1024;

    fn input(datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferInputTensor {
        InferInputTensor {
            name: "x".to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
            contents,
            ..Default::default()
        }
    }

    fn samples() -> Vec<Data> {
        vec![
            Data::Bool(vec![true, false]),
            Data::Uint8(vec![0, u8::MAX]),
            Data::Uint16(vec![0, u16::MAX]),
            Data::Uint32(vec![0, u32::MAX]),
            Data::Uint64(vec![0, u64::MAX]),
            Data::Int8(vec![i8::MIN, i8::MAX]),
            Data::Int16(vec![i16::MIN, i16::MAX]),
            Data::Int32(vec![i32::MIN, i32::MAX]),
            Data::Int64(vec![i64::MIN, i64::MAX]),
            Data::Fp32(vec![1.1, f32::INFINITY]),
            Data::Fp64(vec![1.0 / 3.0, -0.0]),
            Data::Bytes(vec![String::new(), "ünï".to_owned()]),
            Data::Fp16(vec![f16::ONE, f16::MIN]),
        ]
    }

    #[test]
    fn lists_and_bytes_come_back_as_they_went() {
        for data in samples() {
            let datatype = data.datatype();
            let mut bytes = Vec::new();
            binary::encode(&data, &mut bytes);
            let raw = read(vec![input(datatype.as_str(), &[2], None)], &[bytes.into()], MOST).unwrap();
            assert_eq!(raw[0].tensor.data(), &data);
            if has_list(datatype) {
                let lists = read(vec![input(datatype.as_str(), &[2, 1], Some(contents(&data)))], &[], MOST).unwrap();
                assert_eq!((lists[0].tensor.data(), lists[0].tensor.shape()), (&data, &[2, 1][..]));
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_a_word_for_it() {
        let ints = |values: &[i32]| Some(InferTensorContents { int_contents: values.to_vec(), ..Default::default() });
        let raw = || vec![Bytes::from_static(&[0; 4])];
        for (inputs, raw, expected) in [
            (vec![input("INT8", &[1], ints(&[128]))], vec![], "out_of_range"),
            (vec![input("INT32", &[2], ints(&[1]))], vec![], "wrong_shape"),
            (vec![input("INT32", &[-1], ints(&[1]))], vec![], "wrong_shape"),
            (vec![input("INT32", &[i64::MAX, i64::MAX], ints(&[1]))], vec![], "wrong_shape"),
            (vec![input("INT64", &[1], ints(&[1]))], vec![], "wrong_datatype"),
            (vec![input("FP16", &[1], None)], vec![], "wrong_datatype"),
            (vec![input("INT31", &[1], None)], vec![], "unknown_datatype"),
            (vec![input("INT32", &[1], None)], vec![], "wrong_shape"),
            (vec![input("INT32", &[1], ints(&[1]))], raw(), "not_exactly_one"),
            (vec![input("INT64", &[1], None)], raw(), "wrong_length"),
            (vec![input("INT32", &[1], None), input("INT32", &[1], None)], raw(), "wrong_length"),
        ] {
            let error = read(inputs, &raw, MOST).unwrap_err();
            assert_eq!(error.violations()[0].code, expected, "{error}");
        }
    }
}
