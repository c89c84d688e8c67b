//! Tensors as bytes, as the Open Inference Protocol sends them in both of its forms: little-endian, row-major, a byte for a
//! BOOL, and for a string its length in 4 bytes before it.
//!
//! Nothing is allocated by a length that is merely claimed: bytes are there, or there is an error.

use half::{bf16, f16};
use zerocopy::IntoBytes;

use super::{
    cost,
    datatype::Datatype,
    tensor::{Data, MAX_DIMENSIONS, Tensor},
};

/// What is wrong with bytes that should be a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryFault {
    /// The same as a stable word.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

fn fault(code: &'static str, detail: impl Into<String>) -> BinaryFault {
    BinaryFault { code, detail: detail.into() }
}

/// What is wrong with a shape, in a stable word and for people: it has more dimensions than anything could compute, or more
/// elements than can be counted. A dimension of 0 does not make the others smaller: without it there are no more than `most`
/// elements, or its body could not have held them.
pub fn shape_fault(shape: &[usize], most: usize) -> Option<(&'static str, String)> {
    if shape.len() > MAX_DIMENSIONS {
        return Some(("wrong_shape", too_many(shape.len())));
    }
    let product = |product: usize, dim: &usize| product.checked_mul(*dim);
    let positive = shape.iter().filter(|dim| **dim > 0).try_fold(1, product);
    let Some(count) = positive.filter(|count| isize::try_from(*count).is_ok()) else {
        return Some(("wrong_shape", "the shape has more elements than can be counted".to_owned()));
    };
    (shape.contains(&0) && count > most).then(|| {
        let detail = "the shape has a dimension of 0, and the others are larger than any body could hold".to_owned();
        ("wrong_shape", detail)
    })
}

/// What is wrong with a shape of more dimensions than any model takes.
pub fn too_many_dimensions(count: usize) -> BinaryFault {
    fault("wrong_shape", too_many(count))
}

fn too_many(count: usize) -> String {
    format!("the shape has {count} dimensions, and no tensor has more than {MAX_DIMENSIONS}")
}

/// How many elements a shape has. `most` is what its body could hold.
///
/// # Errors
/// For dimensions below 0, and for what [`shape_fault`] says.
pub fn elements(shape: &[i64], most: usize) -> Result<(Vec<usize>, usize), BinaryFault> {
    let dims: Result<Vec<usize>, _> = shape.iter().map(|dim| usize::try_from(*dim)).collect();
    let dims = dims.map_err(|_| fault("wrong_shape", "a dimension of the shape is below 0"))?;
    if let Some((code, detail)) = shape_fault(&dims, most) {
        return Err(fault(code, detail));
    }
    let count = dims.iter().product();
    Ok((dims, count))
}

/// A tensor of `shape` from its bytes, all of them. `most` is how many elements its body could hold.
///
/// # Errors
/// When there are more or fewer bytes than the shape says, or they are no elements of `datatype`.
pub fn decode(datatype: Datatype, shape: &[i64], bytes: &[u8], most: usize) -> Result<Tensor, BinaryFault> {
    let (shape, count) = elements(shape, most)?;
    if let Some(width) = datatype.width() {
        let needed = count.checked_mul(width);
        if needed != Some(bytes.len()) {
            let needed = needed.map_or_else(|| "more than can be counted".to_owned(), |needed| needed.to_string());
            let detail = format!("the tensor has {} bytes, and {datatype} of its shape takes {needed}", bytes.len());
            return Err(fault("wrong_length", detail));
        }
    }
    macro_rules! numbers {
        ($type:ty) => {
            bytes.as_chunks().0.iter().map(|bytes| <$type>::from_le_bytes(*bytes)).collect()
        };
    }
    let data = match datatype {
        Datatype::Bool => Data::Bool(bools(bytes)?),
        Datatype::Uint8 => Data::Uint8(bytes.to_vec()),
        Datatype::Uint16 => Data::Uint16(numbers!(u16)),
        Datatype::Uint32 => Data::Uint32(numbers!(u32)),
        Datatype::Uint64 => Data::Uint64(numbers!(u64)),
        Datatype::Int8 => Data::Int8(bytes.iter().map(|byte| byte.cast_signed()).collect()),
        Datatype::Int16 => Data::Int16(numbers!(i16)),
        Datatype::Int32 => Data::Int32(numbers!(i32)),
        Datatype::Int64 => Data::Int64(numbers!(i64)),
        Datatype::Fp16 => Data::Fp16(numbers!(f16)),
        Datatype::Bf16 => Data::Bf16(numbers!(bf16)),
        Datatype::Fp32 => Data::Fp32(numbers!(f32)),
        Datatype::Fp64 => Data::Fp64(numbers!(f64)),
        Datatype::Bytes => Data::Bytes(strings(bytes, count)?),
    };
    Tensor::new(shape, data).ok_or_else(|| fault("wrong_shape", "the elements do not fill the shape"))
}

fn bools(bytes: &[u8]) -> Result<Vec<bool>, BinaryFault> {
    match bytes.iter().position(|byte| *byte > 1) {
        None => Ok(bytes.iter().map(|byte| *byte == 1).collect()),
        Some(place) => Err(fault("wrong_datatype", format!("element {place} of BOOL is neither 0 nor 1"))),
    }
}

fn strings(mut bytes: &[u8], count: usize) -> Result<Vec<String>, BinaryFault> {
    // Each takes 4 bytes at least: more are not there, whatever the shape says.
    let most = count.min(bytes.len() / 4);
    if !cost::take(most * cost::of_text(0) + bytes.len()) {
        return Err(fault("no_room", "there is no room for the strings"));
    }
    let mut strings = Vec::with_capacity(most);
    for place in 0..count {
        let cut = || fault("wrong_length", format!("the bytes end within string {place} of {count}"));
        let (length, rest) = bytes.split_first_chunk().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut())?;
        let (string, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        strings.push(text(string, place)?);
        bytes = rest;
    }
    match bytes.len() {
        0 => Ok(strings),
        surplus => Err(fault("wrong_length", format!("bytes are left after the last of {count} strings: {surplus}"))),
    }
}

/// A string element from its own bytes.
///
/// # Errors
/// For bytes that are no UTF-8, which ONNX's strings are.
pub fn text(bytes: &[u8], place: usize) -> Result<String, BinaryFault> {
    let text = std::str::from_utf8(bytes).map(str::to_owned);
    text.map_err(|_| fault("wrong_datatype", format!("element {place} is not in UTF-8, as strings of ONNX are")))
}

/// The bytes that [`encode`] writes; `None` for more than can be counted, or a string that is too long for its length.
pub fn encoded_len(data: &Data) -> Option<usize> {
    match data {
        Data::Bytes(texts) => texts.iter().try_fold(0_usize, |sum, text| {
            u32::try_from(text.len()).ok()?;
            sum.checked_add(4)?.checked_add(text.len())
        }),
        data => data.len().checked_mul(data.datatype().width()?),
    }
}

/// The elements of `data` as [`encode`] writes them, where they lie; `None` where they lie otherwise in memory.
pub fn as_bytes(data: &Data) -> Option<&[u8]> {
    if cfg!(target_endian = "big") {
        return None;
    }
    match data {
        Data::Bytes(_) => None,
        Data::Bool(values) => Some(values.as_bytes()),
        Data::Uint8(values) => Some(values),
        Data::Uint16(values) => Some(values.as_bytes()),
        Data::Uint32(values) => Some(values.as_bytes()),
        Data::Uint64(values) => Some(values.as_bytes()),
        Data::Int8(values) => Some(values.as_bytes()),
        Data::Int16(values) => Some(values.as_bytes()),
        Data::Int32(values) => Some(values.as_bytes()),
        Data::Int64(values) => Some(values.as_bytes()),
        Data::Fp16(values) => Some(values.as_bytes()),
        Data::Bf16(values) => Some(values.as_bytes()),
        Data::Fp32(values) => Some(values.as_bytes()),
        Data::Fp64(values) => Some(values.as_bytes()),
    }
}

/// Appends the elements of `data` as bytes.
pub fn encode(data: &Data, bytes: &mut Vec<u8>) {
    macro_rules! numbers {
        ($values:expr) => {
            write(bytes, $values, |value| value.to_le_bytes())
        };
    }
    match data {
        Data::Bool(values) => bytes.extend(values.iter().map(|value| u8::from(*value))),
        Data::Uint8(values) => bytes.extend_from_slice(values),
        Data::Uint16(values) => numbers!(values),
        Data::Uint32(values) => numbers!(values),
        Data::Uint64(values) => numbers!(values),
        Data::Int8(values) => bytes.extend(values.iter().map(|value| value.cast_unsigned())),
        Data::Int16(values) => numbers!(values),
        Data::Int32(values) => numbers!(values),
        Data::Int64(values) => numbers!(values),
        Data::Fp16(values) => numbers!(values),
        Data::Bf16(values) => numbers!(values),
        Data::Fp32(values) => numbers!(values),
        Data::Fp64(values) => numbers!(values),
        Data::Bytes(texts) => {
            for text in texts {
                // Checked before by who asked for the length.
                bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// In blocks, which the compiler copies as such: a push for each number would look for room each time, and zeros for all of
/// them would be written to be overwritten.
fn write<T: Copy, const N: usize>(bytes: &mut Vec<u8>, values: &[T], one: impl Fn(T) -> [u8; N]) {
    let mut block = [0; 4096];
    bytes.reserve(values.len() * N);
    for values in values.chunks(block.len() / N) {
        let filled = &mut block[..values.len() * N];
        for (place, value) in filled.as_chunks_mut().0.iter_mut().zip(values) {
            *place = one(*value);
        }
        bytes.extend_from_slice(filled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[usize]) -> Vec<i64> {
        dims.iter().map(|dim| i64::try_from(*dim).unwrap()).collect()
    }

    /// `count` elements of every datatype.
    fn every_datatype(count: usize) -> Vec<Data> {
        let numbers = || (0..count).map(|index| (index * 37 + 1) as u8);
        let float = |number: u8| f32::from(number) / 8.0 - 9.0;
        vec![
            Data::Bool(numbers().map(|number| number % 2 == 0).collect()),
            Data::Uint8(numbers().collect()),
            Data::Uint16(numbers().map(|number| u16::from(number) * 257).collect()),
            Data::Uint32(numbers().map(|number| u32::MAX - u32::from(number)).collect()),
            Data::Uint64(numbers().map(|number| u64::MAX - u64::from(number)).collect()),
            Data::Int8(numbers().map(u8::cast_signed).collect()),
            Data::Int16(numbers().map(|number| i16::MIN + i16::from(number)).collect()),
            Data::Int32(numbers().map(|number| i32::MIN + i32::from(number)).collect()),
            Data::Int64(numbers().map(|number| i64::MIN + i64::from(number)).collect()),
            Data::Fp16(numbers().map(|number| f16::from_f32(float(number))).collect()),
            Data::Bf16(numbers().map(|number| bf16::from_f32(float(number))).collect()),
            Data::Fp32(numbers().map(float).collect()),
            Data::Fp64(numbers().map(|number| f64::from(number) / 3.0).collect()),
            Data::Bytes(numbers().map(|number| "ä".repeat(usize::from(number % 5))).collect()),
        ]
    }

    #[test]
    fn what_is_written_is_read_back_for_every_datatype_and_rank() {
        for dims in [&[][..], &[0], &[1], &[7], &[2, 3], &[3, 0, 2], &[1, 2, 3, 4], &[1, 1, 2, 1, 3, 2]] {
            let count = dims.iter().product();
            for data in every_datatype(count) {
                let (datatype, mut bytes) = (data.datatype(), Vec::new());
                encode(&data, &mut bytes);
                assert_eq!(Some(bytes.len()), encoded_len(&data));
                let tensor = Tensor::new(dims.to_vec(), data).unwrap();
                assert_eq!(decode(datatype, &shape(dims), &bytes, usize::MAX), Ok(tensor), "{datatype} {dims:?}");
            }
        }
    }

    #[test]
    fn bytes_that_are_cut_or_left_over_are_refused_at_every_length() {
        for data in every_datatype(3) {
            let (datatype, mut bytes) = (data.datatype(), Vec::new());
            encode(&data, &mut bytes);
            bytes.extend_from_slice(&[0; 9]);
            for length in (0..bytes.len()).filter(|length| *length != bytes.len() - 9) {
                let error = decode(datatype, &[3], &bytes[..length], usize::MAX).unwrap_err();
                assert_eq!(error.code, "wrong_length", "{datatype} {length}");
            }
        }
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let huge = i64::MAX;
        for shape in [&[huge][..], &[huge, 0], &[huge, huge], &[1 << 40, 1 << 20], &[-1], &[0, -1], &[huge, huge, 0]] {
            for datatype in [Datatype::Uint8, Datatype::Fp64, Datatype::Bytes] {
                let tensor = decode(datatype, shape, &[0xff; 8], usize::MAX);
                assert!(tensor.is_err(), "{datatype} {shape:?}");
            }
        }
        assert_eq!(decode(Datatype::Bytes, &[1], &[0xff; 8], usize::MAX).unwrap_err().code, "wrong_length");
        assert_eq!(decode(Datatype::Fp32, &[1 << 20, 0], &[], 1 << 20).unwrap().shape(), [1 << 20, 0]);
        assert_eq!(decode(Datatype::Fp32, &[1 << 20, 2, 0], &[], 1 << 20).unwrap_err().code, "wrong_shape");
        assert_eq!(decode(Datatype::Fp32, &[0; 65], &[], usize::MAX).unwrap_err().code, "wrong_shape");
        assert_eq!(decode(Datatype::Fp32, &[1 << 40, 0], &[], usize::MAX).unwrap().shape(), [1 << 40, 0]);
    }

    #[test]
    fn what_is_no_element_is_refused() {
        assert_eq!(decode(Datatype::Bool, &[2], &[1, 2], usize::MAX).unwrap_err().code, "wrong_datatype");
        let no_text = [1, 0, 0, 0, 0xff];
        assert_eq!(decode(Datatype::Bytes, &[1], &no_text, usize::MAX).unwrap_err().code, "wrong_datatype");
    }
}
