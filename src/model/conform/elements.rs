//! JSON values as elements of a declared datatype: each fits exactly, or is refused with its position.

use half::{bf16, f16};

use crate::model::{
    datatype::Datatype,
    nested::{Leaves, Number},
    numbers::Numbers,
    tensor::Data,
};

/// A leaf that is no value of the datatype.
#[derive(Debug)]
pub struct Misfit {
    /// Its position among the leaves.
    pub leaf: usize,
    /// What is wrong, as a stable word.
    pub code: &'static str,
    /// The same for people.
    pub detail: String,
}

/// The leaves as elements of `datatype`. NaN is one of a float only where floats may be `missing`.
///
/// # Errors
/// The first leaf that does not fit.
pub fn convert(leaves: Leaves, datatype: Datatype, missing: bool) -> Result<Data, Misfit> {
    macro_rules! numbers {
        ($variant:ident, $from:expr) => {
            each_number(numbers_of(leaves), datatype, $from).map(Data::$variant)
        };
    }
    macro_rules! floats {
        ($variant:ident, $float:ty, $from:expr) => {
            numbers!($variant, |number| finite($from(number), <$float>::is_finite, |it| missing && it.is_nan()))
        };
    }
    match datatype {
        Datatype::Bool => each(bools_of(leaves), datatype, Ok).map(Data::Bool),
        Datatype::Bytes => each(texts_of(leaves), datatype, text).map(Data::Bytes),
        Datatype::Uint8 => numbers!(Uint8, integer),
        Datatype::Uint16 => numbers!(Uint16, integer),
        Datatype::Uint32 => numbers!(Uint32, integer),
        Datatype::Uint64 => numbers!(Uint64, integer),
        Datatype::Int8 => numbers!(Int8, integer),
        Datatype::Int16 => numbers!(Int16, integer),
        Datatype::Int32 => numbers!(Int32, integer),
        Datatype::Int64 => numbers!(Int64, integer),
        Datatype::Fp16 => floats!(Fp16, f16, |number| f16::from_f64(float(number))),
        Datatype::Bf16 => floats!(Bf16, bf16, |number| bf16::from_f64(float(number))),
        Datatype::Fp32 => floats!(Fp32, f32, fp32),
        Datatype::Fp64 => floats!(Fp64, f64, float),
    }
}

/// Converts leaf by leaf. `Err` in `leaves` is the word for what they are instead.
fn each<T, U>(
    leaves: Result<Vec<T>, &'static str>,
    datatype: Datatype,
    convert: impl Fn(T) -> Result<U, Reason>,
) -> Result<Vec<U>, Misfit> {
    let leaves = leaves.map_err(|given| other_kind(given, datatype))?;
    let mut converted = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        let element = convert(leaf).map_err(|reason| misfit(converted.len(), reason, datatype))?;
        converted.push(element);
    }
    Ok(converted)
}

/// The same for numbers.
fn each_number<U>(
    numbers: Result<Numbers, &'static str>,
    datatype: Datatype,
    convert: impl Fn(Number) -> Result<U, Reason>,
) -> Result<Vec<U>, Misfit> {
    let numbers = numbers.map_err(|given| other_kind(given, datatype))?;
    let mut converted = Vec::with_capacity(numbers.len());
    numbers.consume(|number| {
        let element = convert(number).map_err(|reason| misfit(converted.len(), reason, datatype))?;
        converted.push(element);
        Ok(())
    })?;
    Ok(converted)
}

fn other_kind(given: &str, datatype: Datatype) -> Misfit {
    let detail = format!("expected {} for {datatype}, got {given}", wanted(datatype));
    Misfit { leaf: 0, code: "wrong_datatype", detail }
}

fn misfit(leaf: usize, (code, words): Reason, datatype: Datatype) -> Misfit {
    Misfit { leaf, code, detail: format!("{words} {datatype}") }
}

/// A stable word, and words for people that the datatype's name ends.
type Reason = (&'static str, &'static str);

const OUT_OF_RANGE: Reason = ("out_of_range", "the number is out of the range of");
const FRACTION: Reason = ("wrong_datatype", "a fraction is no value of");
const NUL: Reason = ("nul_character", "a NUL character cannot be passed in");

fn integer<T: TryFrom<i64> + TryFrom<u64>>(number: Number) -> Result<T, Reason> {
    match number {
        Number::Int(value) => T::try_from(value).map_err(|_| OUT_OF_RANGE),
        Number::UInt(value) => T::try_from(value).map_err(|_| OUT_OF_RANGE),
        Number::Float(value) if value.fract() != 0.0 => Err(FRACTION),
        // 1.0 and 1e3 are whole numbers to JSON. Up to 2^53 a float holds them exactly.
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and below 2^53")]
        Number::Float(value) if value.abs() <= 9_007_199_254_740_992.0 => integer(Number::Int(value as i64)),
        Number::Float(_) => Err(OUT_OF_RANGE),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the caller asks for a float")]
const fn float(number: Number) -> f64 {
    match number {
        Number::Int(value) => value as f64,
        Number::UInt(value) => value as f64,
        Number::Float(value) => value,
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the caller asks for FP32; infinity is refused"
)]
const fn fp32(number: Number) -> f32 {
    // Straight from the integer: by way of f64 it could be rounded twice.
    match number {
        Number::Int(value) => value as f32,
        Number::UInt(value) => value as f32,
        Number::Float(value) => value as f32,
    }
}

/// NaN stands for what is missing.
fn finite<T: Copy>(value: T, is_finite: impl Fn(T) -> bool, is_allowed_nan: impl Fn(T) -> bool) -> Result<T, Reason> {
    if is_finite(value) || is_allowed_nan(value) { Ok(value) } else { Err(OUT_OF_RANGE) }
}

/// ONNX Runtime takes C strings.
fn text(text: String) -> Result<String, Reason> {
    if text.contains('\0') { Err(NUL) } else { Ok(text) }
}

/// The leaves, or the word for what they are instead. No leaves at all are of every kind.
fn numbers_of(leaves: Leaves) -> Result<Numbers, &'static str> {
    match leaves {
        Leaves::Numbers(values) => Ok(values),
        Leaves::Bools(_) => Err(BOOLEAN),
        Leaves::Texts(_) => Err(STRING),
    }
}

fn bools_of(leaves: Leaves) -> Result<Vec<bool>, &'static str> {
    match leaves {
        Leaves::Bools(values) => Ok(values),
        Leaves::Numbers(values) if values.is_empty() => Ok(Vec::new()),
        Leaves::Numbers(_) => Err(NUMBER),
        Leaves::Texts(_) => Err(STRING),
    }
}

fn texts_of(leaves: Leaves) -> Result<Vec<String>, &'static str> {
    match leaves {
        Leaves::Texts(values) => Ok(values),
        Leaves::Numbers(values) if values.is_empty() => Ok(Vec::new()),
        Leaves::Numbers(_) => Err(NUMBER),
        Leaves::Bools(_) => Err(BOOLEAN),
    }
}

const NUMBER: &str = "a number";
const BOOLEAN: &str = "a boolean";
const STRING: &str = "a string";

const fn wanted(datatype: Datatype) -> &'static str {
    match datatype {
        Datatype::Bool => BOOLEAN,
        Datatype::Bytes => STRING,
        _ => NUMBER,
    }
}
