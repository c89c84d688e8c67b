//! Fits what a caller sent to what a model declares: names, rank, lengths, datatypes and ranges, each fault with a pointer.

use std::{fmt::Write, sync::Arc};

use half::{bf16, f16};

use super::{
    input::{Input, Leaves, Nested, Number},
    signature::{Signature, TensorSpec},
    tensor::{Data, Datatype, Tensor},
};
use crate::error::{MOST_VIOLATIONS, Violation};

/// What an item must fit.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The declared inputs.
    pub signature: Arc<Signature>,
    /// Whether the first dimension of every input is the batch, which an item leaves out.
    pub batched: bool,
    /// Whether an item may bring several rows of its own.
    pub several_rows: bool,
    /// The input that takes text, by its position.
    pub text_input: Option<usize>,
    /// The longest text, in characters.
    pub max_text_chars: usize,
}

/// One item in the model's own terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// In the order of the signature, batch dimension included.
    pub tensors: Vec<Tensor>,
    /// Length of the batch dimension; 1 for a model without one.
    pub rows: usize,
    /// Whether the caller wrote the batch dimension, and so wants it in the answer.
    pub whole: bool,
}

impl Rules {
    /// Makes tensors of `input`, which stands at `pointer` in the caller's document.
    ///
    /// # Errors
    /// One violation per input that does not fit, up to [`MOST_VIOLATIONS`].
    pub fn conform(&self, input: Input, pointer: &str) -> Result<Item, Vec<Violation>> {
        let mut values = self.assign(input, pointer)?;
        let mut tensors = Vec::with_capacity(values.len());
        let mut violations = Vec::new();
        for (index, spec) in self.signature.inputs.iter().enumerate() {
            let Some((pointer, nested)) = values.get_mut(index).and_then(Option::take) else {
                let detail = format!("input '{}' is missing: the model takes {}", spec.name, self.names());
                violations.push(Violation::new(pointer, "missing_input", detail));
                continue;
            };
            let limit = (self.text_input == Some(index)).then_some(self.max_text_chars);
            let fitting = Fitting { spec, batched: self.batched, pointer: &pointer, max_text_chars: limit };
            match fitting.tensor(nested) {
                Ok(tensor) => tensors.push(tensor),
                Err(violation) => violations.push(violation),
            }
        }
        violations.truncate(MOST_VIOLATIONS);
        if !violations.is_empty() {
            return Err(violations);
        }
        self.rows(tensors, pointer).map_err(|violation| vec![violation])
    }

    /// Sorts the values into the order of the signature, each with its pointer.
    fn assign(&self, input: Input, pointer: &str) -> Result<Vec<Option<(String, Nested)>>, Vec<Violation>> {
        let inputs = &self.signature.inputs;
        let mut values: Vec<Option<(String, Nested)>> = inputs.iter().map(|_| None).collect();
        match input {
            Input::Text(text) => {
                let Some(index) = self.text_input else {
                    let detail = format!("this model takes no text: send 'input' with {}", self.names());
                    return Err(vec![Violation::new(pointer, "no_text_input", detail)]);
                };
                let nested = Nested { leaves: Leaves::Texts(vec![text]), ..Nested::default() };
                values[index] = Some((pointer.to_owned(), nested));
            }
            Input::Value(nested) => {
                if inputs.len() != 1 {
                    let detail = format!("this model takes several inputs: send an object with {}", self.names());
                    return Err(vec![Violation::new(pointer, "inputs_not_named", detail)]);
                }
                values[0] = Some((pointer.to_owned(), nested));
            }
            Input::Named(named) => {
                let mut violations = Vec::new();
                for (name, nested) in named {
                    let pointer = format!("{pointer}/{}", escape(&name));
                    match inputs.iter().position(|spec| *spec.name == *name) {
                        Some(index) if values[index].is_none() => values[index] = Some((pointer, nested)),
                        Some(_) => {
                            violations.push(Violation::new(pointer, "duplicate_input", "this input stands twice"));
                        }
                        None => {
                            let detail = format!("there is no such input: the model takes {}", self.names());
                            violations.push(Violation::new(pointer, "unknown_input", detail));
                        }
                    }
                    if violations.len() == MOST_VIOLATIONS {
                        break;
                    }
                }
                if !violations.is_empty() {
                    return Err(violations);
                }
            }
        }
        Ok(values)
    }

    /// Checks that all inputs agree on the number of rows.
    fn rows(&self, fitted: Vec<Fitted>, pointer: &str) -> Result<Item, Violation> {
        let whole = fitted.first().is_some_and(|first| first.whole);
        if fitted.iter().any(|tensor| tensor.whole != whole) {
            let detail = "some inputs come with the batch dimension and some without";
            return Err(Violation::new(pointer, "wrong_rank", detail));
        }
        let mut rows = 1;
        if self.batched {
            let mut counts = fitted.iter().filter_map(|fitted| fitted.tensor.shape().first().copied());
            rows = counts.next().unwrap_or(1);
            if counts.any(|count| count != rows) {
                return Err(Violation::new(pointer, "wrong_length", "the inputs differ in their number of rows"));
            }
            if rows == 0 {
                return Err(Violation::new(pointer, "wrong_length", "there is no row to predict"));
            }
            if rows != 1 && !self.several_rows {
                let detail = format!("expected 1 row, got {rows}: send several items to /v1/predict_batch");
                return Err(Violation::new(pointer, "wrong_length", detail));
            }
        }
        Ok(Item { tensors: fitted.into_iter().map(|fitted| fitted.tensor).collect(), rows, whole })
    }

    /// What the model takes, as far as it fits into a sentence.
    fn names(&self) -> String {
        const MOST: usize = 16;
        let inputs = &self.signature.inputs;
        let specs: Vec<_> = inputs.iter().take(MOST).map(ToString::to_string).collect();
        let others = inputs.len().saturating_sub(MOST);
        specs.join(", ") + &if others == 0 { String::new() } else { format!(" and {others} more") }
    }
}

struct Fitted {
    tensor: Tensor,
    whole: bool,
}

/// One value on its way to one declared input.
struct Fitting<'a> {
    spec: &'a TensorSpec,
    batched: bool,
    pointer: &'a str,
    /// Set for the text input only.
    max_text_chars: Option<usize>,
}

impl Fitting<'_> {
    fn tensor(&self, nested: Nested) -> Result<Fitted, Violation> {
        if let Some(fault) = nested.fault {
            return Err(self.violation(&fault.path, fault.code, fault.detail));
        }
        let (shape, whole) = self.shape(&nested.shape)?;
        self.check_texts(&nested)?;
        let data = self.data(nested.leaves, &nested.shape)?;
        let tensor = Tensor::new(shape, data)
            .ok_or_else(|| self.violation(&[], "wrong_shape", "the value does not fill its shape"))?;
        Ok(Fitted { tensor, whole })
    }

    /// The tensor's full shape, and whether the caller gave all of it.
    fn shape(&self, given: &[usize]) -> Result<(Vec<usize>, bool), Violation> {
        let declared = &self.spec.shape;
        let item = if self.batched { &declared[1..] } else { &declared[..] };
        // Graphs state no rank and rank 0 alike; ONNX Runtime knows which, and refuses what does not fit.
        if declared.is_empty() {
            return Ok((given.to_vec(), true));
        }
        let with_batch = |rest: &[usize]| {
            let batch: &[usize] = if self.batched { &[1] } else { &[] };
            [batch, rest].concat()
        };
        if given.len() == declared.len() {
            self.lengths(declared, given)?;
            return Ok((given.to_vec(), true));
        }
        if given.len() == item.len() {
            self.lengths(item, given)?;
            return Ok((with_batch(given), false));
        }
        // A bare number or string where exactly one is wanted.
        if given.is_empty() && item.iter().all(|dim| *dim == super::Dim::Fixed(1)) {
            return Ok((with_batch(&vec![1; item.len()]), !self.batched));
        }
        let detail = format!("expected {}, got {}", list_words(item.len()), list_words(given.len()));
        Err(self.violation(&[], "wrong_rank", format!("{detail}: the model declares {}", self.spec)))
    }

    fn lengths(&self, declared: &[super::Dim], given: &[usize]) -> Result<(), Violation> {
        let wrong = declared.iter().zip(given).position(|(dim, size)| !dim.admits(*size));
        let Some(depth) = wrong else { return Ok(()) };
        let detail = format!("expected length {}, got {}", declared[depth], given[depth]);
        Err(self.violation(&vec![0; depth], "wrong_length", format!("{detail}: the model declares {}", self.spec)))
    }

    fn check_texts(&self, nested: &Nested) -> Result<(), Violation> {
        let (Some(limit), Leaves::Texts(texts)) = (self.max_text_chars, &nested.leaves) else { return Ok(()) };
        for (index, text) in texts.iter().enumerate() {
            text_rule(text, limit)
                .map_err(|(code, detail)| self.violation(&position(index, &nested.shape), code, detail))?;
        }
        Ok(())
    }

    fn data(&self, leaves: Leaves, shape: &[usize]) -> Result<Data, Violation> {
        macro_rules! numbers {
            ($variant:ident, $from:expr) => {
                self.convert(numbers_of(leaves), shape, $from).map(Data::$variant)
            };
        }
        match self.spec.datatype {
            Datatype::Bool => self.convert(bools_of(leaves), shape, Ok).map(Data::Bool),
            Datatype::Bytes => self.convert(texts_of(leaves), shape, text).map(Data::Bytes),
            Datatype::Uint8 => numbers!(Uint8, integer),
            Datatype::Uint16 => numbers!(Uint16, integer),
            Datatype::Uint32 => numbers!(Uint32, integer),
            Datatype::Uint64 => numbers!(Uint64, integer),
            Datatype::Int8 => numbers!(Int8, integer),
            Datatype::Int16 => numbers!(Int16, integer),
            Datatype::Int32 => numbers!(Int32, integer),
            Datatype::Int64 => numbers!(Int64, integer),
            Datatype::Fp16 => numbers!(Fp16, |number| finite(f16::from_f64(float(number)), f16::is_finite)),
            Datatype::Bf16 => numbers!(Bf16, |number| finite(bf16::from_f64(float(number)), bf16::is_finite)),
            Datatype::Fp32 => numbers!(Fp32, fp32),
            Datatype::Fp64 => numbers!(Fp64, |number| finite(float(number), f64::is_finite)),
        }
    }

    fn convert<T, U>(
        &self,
        leaves: Result<Vec<T>, &'static str>,
        shape: &[usize],
        convert: impl Fn(T) -> Result<U, Misfit>,
    ) -> Result<Vec<U>, Violation> {
        let wrong = |given| {
            let detail = format!("expected {} for {}, got {given}", wanted(self.spec.datatype), self.spec.datatype);
            self.violation(&position(0, shape), "wrong_datatype", detail)
        };
        let leaves = leaves.map_err(wrong)?;
        let mut converted = Vec::with_capacity(leaves.len());
        for (index, leaf) in leaves.into_iter().enumerate() {
            converted.push(convert(leaf).map_err(|misfit| {
                let detail = format!("{} {}", misfit.detail, self.spec.datatype);
                self.violation(&position(index, shape), misfit.code, detail)
            })?);
        }
        Ok(converted)
    }

    fn violation(&self, path: &[usize], code: &'static str, detail: impl Into<String>) -> Violation {
        let mut pointer = self.pointer.to_owned();
        for index in path {
            let _ = write!(pointer, "/{index}");
        }
        Violation::new(pointer, code, detail)
    }
}

/// Why a leaf does not fit its datatype.
struct Misfit {
    code: &'static str,
    detail: &'static str,
}

const OUT_OF_RANGE: Misfit = Misfit { code: "out_of_range", detail: "the number is out of the range of" };
const FRACTION: Misfit = Misfit { code: "wrong_datatype", detail: "a fraction is no value of" };
const NUL: Misfit = Misfit { code: "nul_character", detail: "a NUL character cannot be passed in" };

fn integer<T: TryFrom<i64> + TryFrom<u64>>(number: Number) -> Result<T, Misfit> {
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
fn fp32(number: Number) -> Result<f32, Misfit> {
    // Straight from the integer: by way of f64 it could be rounded twice.
    let value = match number {
        Number::Int(value) => value as f32,
        Number::UInt(value) => value as f32,
        Number::Float(value) => value as f32,
    };
    finite(value, f32::is_finite)
}

fn finite<T: Copy>(value: T, is_finite: impl Fn(T) -> bool) -> Result<T, Misfit> {
    if is_finite(value) { Ok(value) } else { Err(OUT_OF_RANGE) }
}

/// ONNX Runtime takes C strings.
fn text(text: String) -> Result<String, Misfit> {
    if text.contains('\0') { Err(NUL) } else { Ok(text) }
}

/// The leaves, or the word for what they are instead. No leaves at all are of every kind.
fn numbers_of(leaves: Leaves) -> Result<Vec<Number>, &'static str> {
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

/// What every text must be, wherever it comes from: not blank, not longer than `max_chars` characters.
///
/// # Errors
/// A stable word for the fault, and the same for people.
pub fn text_rule(text: &str, max_chars: usize) -> Result<(), (&'static str, String)> {
    if text.trim().is_empty() {
        return Err(("empty_text", "the text is empty or blank".to_owned()));
    }
    // Bytes bound characters from above, and are counted already.
    if text.len() > max_chars && text.chars().count() > max_chars {
        return Err(("too_long", format!("the text is longer than {max_chars} characters")));
    }
    Ok(())
}

/// Indices of the leaf that is number `index` of a list of this `shape`.
fn position(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut indices = vec![0; shape.len()];
    for (place, size) in indices.iter_mut().zip(shape).rev() {
        let size = (*size).max(1);
        *place = index % size;
        index /= size;
    }
    indices
}

fn list_words(rank: usize) -> String {
    match rank {
        0 => "a single value".to_owned(),
        1 => "a list".to_owned(),
        rank => format!("a list nested {rank} deep"),
    }
}

/// A name inside a JSON pointer (RFC 6901), cut to a length that can be said back.
pub fn escape(name: &str) -> String {
    name.chars().take(128).collect::<String>().replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::{super::Dim, *};

    fn rules(inputs: &[(&str, Datatype, &[i64])], batched: bool) -> Rules {
        let dim = |size: &i64| usize::try_from(*size).map_or(Dim::Dynamic(None), Dim::Fixed);
        let inputs = inputs.iter().map(|(name, datatype, shape)| TensorSpec {
            name: (*name).into(),
            datatype: *datatype,
            shape: shape.iter().map(dim).collect(),
        });
        let signature = Arc::new(Signature { inputs: inputs.collect(), outputs: Vec::new() });
        Rules { signature, batched, several_rows: true, text_input: None, max_text_chars: 10 }
    }

    fn conform(rules: &Rules, json: &str) -> Result<Item, (String, &'static str)> {
        let violations = rules.conform(serde_json::from_str(json).unwrap(), "/input");
        violations.map_err(|violations| (violations[0].pointer.clone(), violations[0].code))
    }

    #[test]
    fn an_item_comes_with_or_without_its_batch_dimension() {
        let rules = rules(&[("x", Datatype::Fp32, &[-1, 2])], true);
        let expected = Tensor::new(vec![1, 2], Data::Fp32(vec![1.0, 2.5])).unwrap();
        for (json, whole) in [("[1, 2.5]", false), ("[[1, 2.5]]", true)] {
            let item = conform(&rules, json).unwrap();
            assert_eq!((&item.tensors[0], item.rows, item.whole), (&expected, 1, whole), "{json}");
        }
        assert_eq!(conform(&rules, "[[1,2],[3,4],[5,6]]").unwrap().rows, 3);
    }

    #[test]
    fn each_misfit_has_a_pointer_and_a_word() {
        let table = rules(&[("x", Datatype::Fp32, &[-1, 2])], true);
        let small = rules(&[("x", Datatype::Uint8, &[-1])], false);
        let two = rules(&[("a/b", Datatype::Fp32, &[-1]), ("c", Datatype::Bytes, &[-1])], false);
        let cases: [(&Rules, &str, &str, &str); 15] = [
            (&table, "1", "/input", "wrong_rank"),
            (&table, "[[[1,2]]]", "/input", "wrong_rank"),
            (&table, "[1,2,3]", "/input", "wrong_length"),
            (&table, "[[1,2,3]]", "/input/0", "wrong_length"),
            (&table, "[1,1e39]", "/input/1", "out_of_range"),
            (&table, r#"["a","b"]"#, "/input/0", "wrong_datatype"),
            (&table, "[[1,2],[3]]", "/input/1", "ragged_list"),
            (&small, "[0,256]", "/input/1", "out_of_range"),
            (&small, "[0,-1]", "/input/1", "out_of_range"),
            (&small, "[0,1.5]", "/input/1", "wrong_datatype"),
            (&small, "[true]", "/input/0", "wrong_datatype"),
            (&two, "[1]", "/input", "inputs_not_named"),
            (&two, r#"{"a/b":[1]}"#, "/input", "missing_input"),
            (&two, r#"{"a/b":[1],"a/b":[2],"c":["x"]}"#, "/input/a~1b", "duplicate_input"),
            (&two, r#"{"a/b":["x"],"c":["x"]}"#, "/input/a~1b/0", "wrong_datatype"),
        ];
        for (rules, json, pointer, code) in cases {
            assert_eq!(conform(rules, json), Err((pointer.to_owned(), code)), "{json}");
        }
    }

    #[test]
    fn whole_floats_are_integers_and_integers_stay_exact() {
        let rules = rules(&[("x", Datatype::Int64, &[-1])], false);
        let item = conform(&rules, "[1.0, 9007199254740993, -2e3]").unwrap();
        assert_eq!(item.tensors[0].data(), &Data::Int64(vec![1, 9_007_199_254_740_993, -2000]));
    }

    #[test]
    fn a_bare_value_stands_for_a_list_of_one() {
        let rules = rules(&[("x", Datatype::Bytes, &[-1, 1])], true);
        assert_eq!(conform(&rules, r#""hi""#).unwrap().tensors[0].shape(), [1, 1]);
    }
}
