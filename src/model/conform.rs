//! Fits what a caller sent to what a model declares: names, rank, lengths, datatypes and ranges, each fault with a pointer.

mod elements;
mod fitting;
mod named;
mod zeros;

use std::sync::Arc;

use self::fitting::{Fitted, Fitting};
pub use self::{
    elements::convert,
    named::{NamedTensor, TEXT},
    zeros::{ZeroSizes, shape_without_rows},
};
use super::{
    datatype::Datatype,
    input::Input,
    nested::{Leaves, Nested},
    signature::{Dim, Signature, TensorSpec},
    tensor::Tensor,
};
use crate::error::{MOST_VIOLATIONS, Violation, pointer_segment};

/// What an item must fit.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The declared inputs.
    pub signature: Arc<Signature>,
    /// Whether the first dimension of every input is the batch, which an item leaves out.
    pub batched: bool,
    /// Whether an item may bring several rows of its own.
    pub several_rows: bool,
    /// Whether text is taken, and what becomes of it.
    pub text: Option<TextIntake>,
    /// The longest text, in characters.
    pub max_text_chars: usize,
    /// Whether `null` may stand for a float that is missing; it becomes NaN.
    pub missing: bool,
    /// The dimensions that may have the size 0. Any may while that is being found out.
    pub zeros: Option<ZeroSizes>,
}

/// What becomes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextIntake {
    /// It goes into the input at this position.
    Input(usize),
    /// It stays a text, the only tensor of its item, until tokens are made of it.
    Tokens,
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
    /// Whether the outputs are wanted as the graph gives them, and not what its task makes of them.
    pub raw: bool,
    /// How much of the second dimension is meant, where rows of other lengths may share a run: what is added to make them
    /// equally long is taken off the outputs again. `None` where every element is meant.
    pub length: Option<usize>,
}

impl Rules {
    /// Makes tensors of `input`, which stands at `pointer` in the caller's document.
    ///
    /// # Errors
    /// One violation per input that does not fit, up to [`MOST_VIOLATIONS`].
    pub fn conform(&self, input: Input, pointer: &str) -> Result<Item, Vec<Violation>> {
        let input = match (input, self.text) {
            (Input::Text(text), Some(TextIntake::Tokens)) => return self.text_item(text, pointer),
            (input, _) => input,
        };
        let mut values = self.assign(input, pointer)?;
        let mut tensors = Vec::with_capacity(values.len());
        let mut violations = Vec::new();
        for (index, spec) in self.signature.inputs.iter().enumerate() {
            let Some((pointer, nested)) = values.get_mut(index).and_then(Option::take) else {
                let detail = format!("input '{}' is missing: the model takes {}", spec.name, self.names());
                violations.push(Violation::new(pointer, "missing_input", detail));
                continue;
            };
            let limit = (self.text == Some(TextIntake::Input(index))).then_some(self.max_text_chars);
            let fitting = Fitting {
                spec,
                batched: self.batched,
                pointer: &pointer,
                max_text_chars: limit,
                missing: self.missing,
            };
            let fitted = fitting.tensor(nested).and_then(|fitted| match self.forbidden_zero(index, &fitted.tensor) {
                // The number of rows has words of its own.
                Some(dimension) if dimension > 0 || !self.batched => Err(fitting.zero(&fitted, dimension)),
                _ => Ok(fitted),
            });
            match fitted {
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

    /// The item of a text that tokens are made of later.
    fn text_item(&self, text: String, pointer: &str) -> Result<Item, Vec<Violation>> {
        let shape = vec![Dim::Dynamic(None), Dim::Fixed(1)];
        let spec = TensorSpec { name: TEXT.into(), datatype: Datatype::Bytes, shape };
        let fitting =
            Fitting { spec: &spec, batched: true, pointer, max_text_chars: Some(self.max_text_chars), missing: false };
        let nested = Nested { leaves: Leaves::Texts(vec![text]), ..Nested::default() };
        let fitted = fitting.tensor(nested).map_err(|violation| vec![violation])?;
        Ok(Item { tensors: vec![fitted.tensor], rows: 1, whole: false, raw: false, length: None })
    }

    /// Sorts the values into the order of the signature, each with its pointer.
    fn assign(&self, input: Input, pointer: &str) -> Result<Vec<Option<(String, Nested)>>, Vec<Violation>> {
        let inputs = &self.signature.inputs;
        let mut values: Vec<Option<(String, Nested)>> = inputs.iter().map(|_| None).collect();
        match input {
            Input::Text(text) => {
                let Some(TextIntake::Input(index)) = self.text else {
                    let detail = format!("this model takes no text: send 'input' with {}", self.names());
                    return Err(vec![Violation::new(pointer, "no_text_input", detail)]);
                };
                let nested = Nested { leaves: Leaves::Texts(vec![text]), ..Nested::default() };
                values[index] = Some((pointer.to_owned(), nested));
            }
            Input::Value(nested) => {
                if inputs.len() != 1 {
                    let detail = match inputs.is_empty() {
                        true => "this model takes no input: send an empty object".to_owned(),
                        false => format!("this model takes several inputs: send an object with {}", self.names()),
                    };
                    return Err(vec![Violation::new(pointer, "inputs_not_named", detail)]);
                }
                values[0] = Some((pointer.to_owned(), nested));
            }
            Input::Named(named) => {
                let mut violations = Vec::new();
                for (name, nested) in named {
                    let pointer = format!("{pointer}/{}", pointer_segment(&name));
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
        Ok(Item {
            tensors: fitted.into_iter().map(|fitted| fitted.tensor).collect(),
            rows,
            whole,
            raw: false,
            length: None,
        })
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

#[cfg(test)]
mod tests {
    use super::{super::Data, *};

    fn rules(inputs: &[(&str, Datatype, &[i64])], batched: bool) -> Rules {
        let dim = |size: &i64| usize::try_from(*size).map_or(Dim::Dynamic(None), Dim::Fixed);
        let inputs = inputs.iter().map(|(name, datatype, shape)| TensorSpec {
            name: (*name).into(),
            datatype: *datatype,
            shape: shape.iter().map(dim).collect(),
        });
        let signature = Arc::new(Signature { inputs: inputs.collect(), outputs: Vec::new() });
        Rules { signature, batched, several_rows: true, text: None, max_text_chars: 10, missing: false, zeros: None }
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
    fn an_empty_list_hides_the_dimensions_inside_of_it() {
        let dynamic = rules(&[("x", Datatype::Fp32, &[-1, -1, 2])], true);
        let fixed = rules(&[("x", Datatype::Fp32, &[3, 0, 5])], false);
        let open = rules(&[("x", Datatype::Fp32, &[-1, -1])], false);
        let cases: [(&Rules, &str, &[usize], bool); 5] = [
            (&dynamic, "[]", &[1, 0, 2], false),
            (&dynamic, "[[]]", &[1, 0, 2], true),
            (&dynamic, "[[],[]]", &[2, 0, 2], true),
            (&fixed, "[[],[],[]]", &[3, 0, 5], true),
            (&open, "[]", &[0, 0], true),
        ];
        for (rules, json, shape, whole) in cases {
            let item = conform(rules, json).unwrap();
            assert_eq!((item.tensors[0].shape(), item.whole), (shape, whole), "{json}");
        }
        assert_eq!(conform(&fixed, "[[],[]]"), Err(("/input".to_owned(), "wrong_rank")));
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
    fn null_is_nan_where_floats_may_be_missing_and_nowhere_else() {
        let floats = rules(&[("x", Datatype::Fp32, &[-1, 2])], true);
        assert_eq!(conform(&floats, "[[1,2],[3,null]]"), Err(("/input/1/1".to_owned(), "null")));
        let floats = Rules { missing: true, ..floats };
        let item = conform(&floats, "[[1,2],[3,null]]").unwrap();
        let Data::Fp32(values) = item.tensors[0].data() else { panic!("no floats") };
        assert_eq!((&values[..3], values[3].is_nan()), (&[1.0, 2.0, 3.0][..], true));
        assert_eq!(conform(&floats, r#"[null,"a"]"#), Err(("/input/1".to_owned(), "mixed_types")));
        let whole = Rules { missing: true, ..rules(&[("x", Datatype::Int64, &[-1])], false) };
        assert_eq!(conform(&whole, "[1,null]"), Err(("/input/1".to_owned(), "null")));
        let texts = Rules { missing: true, ..rules(&[("x", Datatype::Bytes, &[-1])], false) };
        assert_eq!(conform(&texts, "[null]"), Err(("/input/0".to_owned(), "null")));
    }

    #[test]
    fn whole_floats_are_integers_and_integers_stay_exact() {
        let rules = rules(&[("x", Datatype::Int64, &[-1])], false);
        let item = conform(&rules, "[1.0, 9007199254740993, -2e3]").unwrap();
        assert_eq!(item.tensors[0].data(), &Data::Int64(vec![1, 9_007_199_254_740_993, -2000]));
    }

    #[test]
    fn a_text_stays_a_text_where_tokens_are_made_of_it() {
        let rules =
            Rules { text: Some(TextIntake::Tokens), ..rules(&[("input_ids", Datatype::Int64, &[-1, -1])], true) };
        let item = rules.conform(Input::Text("hi".to_owned()), "/text").unwrap();
        let text = Tensor::new(vec![1, 1], Data::Bytes(vec!["hi".to_owned()])).unwrap();
        assert_eq!(item, Item { tensors: vec![text], rows: 1, whole: false, raw: false, length: None });
        for (text, code) in [(" \n", "empty_text"), ("eleven char", "too_long"), ("a\0", "nul_character")] {
            let violations = rules.conform(Input::Text(text.to_owned()), "/text").unwrap_err();
            assert_eq!((violations[0].code, &*violations[0].pointer), (code, "/text"));
        }
        assert_eq!(conform(&rules, "[1, 2]").unwrap().tensors[0].shape(), [1, 2]);
    }

    #[test]
    fn a_bare_value_stands_for_a_list_of_one() {
        let rules = rules(&[("x", Datatype::Bytes, &[-1, 1])], true);
        assert_eq!(conform(&rules, r#""hi""#).unwrap().tensors[0].shape(), [1, 1]);
    }
}
