//! Tensors that come with their names and their whole shapes: nothing is added to them, and nothing is guessed.

use super::{
    Item, Rules, TextIntake,
    fitting::{text_rule, zero_words},
};
use crate::{
    error::{MOST_VIOLATIONS, Violation},
    model::{
        datatype::Datatype,
        signature::{Dim, TensorSpec},
        tensor::{Data, Tensor},
    },
};

/// The name of the input that takes texts of which the server makes tokens.
pub const TEXT: &str = "text";

/// One tensor, batch dimension included.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// The input that it is for.
    pub name: String,
    /// Its shape and elements.
    pub tensor: Tensor,
}

/// Tensors, each with its place in the caller's list.
type Placed = Vec<Option<(usize, Tensor)>>;

impl Rules {
    /// Makes items of `tensors`: one of all of them, or one of each text where a model takes nothing else and rows are
    /// independent of each other. What comes out of such items is what the graph gives, row below row.
    ///
    /// # Errors
    /// One violation per tensor that does not fit, up to [`MOST_VIOLATIONS`]. They point to `/inputs/0` and its like.
    pub fn conform_tensors(&self, tensors: Vec<NamedTensor>) -> Result<Vec<Item>, Vec<Violation>> {
        if let Some((place, texts)) = self.only_texts(&tensors) {
            return self.text_items(place, texts);
        }
        let placed = self.place(tensors)?;
        let mut fitted = Vec::with_capacity(placed.len());
        let mut violations = Vec::new();
        for (index, (spec, placed)) in self.signature.inputs.iter().zip(placed).enumerate() {
            let Some((place, tensor)) = placed else {
                let detail = format!("input '{}' is missing: the model takes {}", spec.name, self.names());
                violations.push(Violation::new("/inputs", "missing_input", detail));
                continue;
            };
            let limit = (self.text == Some(TextIntake::Input(index))).then_some(self.max_text_chars);
            let zero = || match self.forbidden_zero(index, &tensor) {
                Some(dimension) => Err(Fault::whole("wrong_shape", self.zero_detail(dimension, spec))),
                None => Ok(()),
            };
            match fits(spec, &tensor).and_then(|()| zero()).and_then(|()| texts_fit(&tensor, limit)) {
                Ok(()) => fitted.push(tensor),
                Err(fault) => violations.push(fault.at(place)),
            }
        }
        violations.truncate(MOST_VIOLATIONS);
        if !violations.is_empty() {
            return Err(violations);
        }
        let rows = self.common_rows(&fitted).map_err(|violation| vec![violation])?;
        Ok(vec![Item { tensors: fitted, rows, whole: true, raw: true, length: None }])
    }

    fn zero_detail(&self, dimension: usize, spec: &TensorSpec) -> String {
        match dimension {
            0 if self.batched => "there is no row, and the rows of this model depend on each other".to_owned(),
            _ => format!("{}: the model declares {spec}", zero_words(dimension)),
        }
    }

    /// How many items [`conform_tensors`](Self::conform_tensors) makes of `tensors` that fit.
    pub fn items_in(&self, tensors: &[NamedTensor]) -> usize {
        self.only_texts(tensors).map_or(1, |(_, texts)| texts.len())
    }

    /// The texts, where each is an item of its own; with the place of their tensor.
    fn only_texts<'a>(&self, tensors: &'a [NamedTensor]) -> Option<(usize, &'a [String])> {
        let [NamedTensor { name, tensor }] = tensors else { return None };
        let takes_texts = match (self.text?, &self.signature.inputs[..]) {
            (TextIntake::Tokens, _) => name == TEXT,
            // A row that is more than its text is not taken apart.
            (TextIntake::Input(_), [only]) => {
                let texts = only.shape.iter().skip(1).all(|dim| *dim == Dim::Fixed(1));
                self.batched && *only.name == **name && texts
            }
            (TextIntake::Input(_), _) => false,
        };
        let one_per_row = tensor.shape().iter().skip(1).all(|size| *size == 1) && !tensor.shape().is_empty();
        match tensor.data() {
            Data::Bytes(texts) if takes_texts && one_per_row => Some((0, texts)),
            _ => None,
        }
    }

    fn text_items(&self, place: usize, texts: &[String]) -> Result<Vec<Item>, Vec<Violation>> {
        if texts.is_empty() {
            return Err(vec![Violation::new(format!("/inputs/{place}"), "empty_batch", "there is no text")]);
        }
        // As the graph declares it; one row of one, where tokens are made of it.
        let rank = match self.text {
            Some(TextIntake::Input(index)) => {
                self.signature.inputs.get(index).map_or(1, |spec| spec.shape.len().max(1))
            }
            _ => 2,
        };
        let mut items = Vec::with_capacity(texts.len());
        let mut violations = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let tensor = Tensor::new(vec![1; rank], Data::Bytes(vec![text.clone()]));
            match tensor.ok_or_else(|| Fault::whole("wrong_shape", "the text fills no tensor")) {
                Ok(tensor) => match texts_fit(&tensor, Some(self.max_text_chars)) {
                    Ok(()) => {
                        items.push(Item { tensors: vec![tensor], rows: 1, whole: true, raw: true, length: None });
                    }
                    Err(fault) => violations.push(Fault { element: Some(index), ..fault }.at(place)),
                },
                Err(fault) => violations.push(fault.at(place)),
            }
            if violations.len() == MOST_VIOLATIONS {
                break;
            }
        }
        if violations.is_empty() { Ok(items) } else { Err(violations) }
    }

    /// Sorts the tensors into the order of the signature.
    fn place(&self, tensors: Vec<NamedTensor>) -> Result<Placed, Vec<Violation>> {
        let inputs = &self.signature.inputs;
        let mut placed: Placed = inputs.iter().map(|_| None).collect();
        let mut violations = Vec::new();
        for (place, NamedTensor { name, tensor }) in tensors.into_iter().enumerate() {
            let pointer = || format!("/inputs/{place}/name");
            match inputs.iter().position(|spec| *spec.name == *name) {
                Some(index) if placed[index].is_none() => placed[index] = Some((place, tensor)),
                Some(_) => violations.push(Violation::new(pointer(), "duplicate_input", "this input stands twice")),
                None => {
                    let text = if self.text == Some(TextIntake::Tokens) { "text BYTES[?], or " } else { "" };
                    let detail = format!("there is no such input: the model takes {text}{}", self.names());
                    violations.push(Violation::new(pointer(), "unknown_input", detail));
                }
            }
            if violations.len() == MOST_VIOLATIONS {
                break;
            }
        }
        if violations.is_empty() { Ok(placed) } else { Err(violations) }
    }

    /// The length of the batch dimension, which all inputs share; 1 without one. It may be 0.
    fn common_rows(&self, tensors: &[Tensor]) -> Result<usize, Violation> {
        if !self.batched {
            return Ok(1);
        }
        let mut counts = tensors.iter().filter_map(|tensor| tensor.shape().first().copied());
        let rows = counts.next().unwrap_or(1);
        if counts.any(|count| count != rows) {
            return Err(Violation::new("/inputs", "wrong_length", "the inputs differ in their number of rows"));
        }
        Ok(rows)
    }
}

/// What is wrong with a tensor, before it is known where that stands.
struct Fault {
    element: Option<usize>,
    code: &'static str,
    detail: String,
}

impl Fault {
    fn whole(code: &'static str, detail: impl Into<String>) -> Self {
        Self { element: None, code, detail: detail.into() }
    }

    fn at(self, place: usize) -> Violation {
        let pointer = match self.element {
            Some(element) => format!("/inputs/{place}/data/{element}"),
            None => format!("/inputs/{place}"),
        };
        Violation::new(pointer, self.code, self.detail)
    }
}

fn fits(spec: &TensorSpec, tensor: &Tensor) -> Result<(), Fault> {
    let given = tensor.data().datatype();
    if given != spec.datatype {
        return Err(Fault::whole("wrong_datatype", format!("got {given}: the model declares {spec}")));
    }
    let (shape, declared) = (tensor.shape(), &spec.shape);
    // Graphs state no rank and rank 0 alike; ONNX Runtime knows which, and refuses what does not fit.
    if declared.is_empty() {
        return Ok(());
    }
    if shape.len() != declared.len() {
        let detail = format!("the shape has {} dimensions: the model declares {spec}", shape.len());
        return Err(Fault::whole("wrong_shape", detail));
    }
    match declared.iter().zip(shape).position(|(dim, size)| !dim.admits(*size)) {
        None => Ok(()),
        Some(depth) => {
            let detail = format!("dimension {depth} of the shape is {}: the model declares {spec}", shape[depth]);
            Err(Fault::whole("wrong_shape", detail))
        }
    }
}

/// `limit` is the longest text in characters, where they are texts and not just strings.
fn texts_fit(tensor: &Tensor, limit: Option<usize>) -> Result<(), Fault> {
    let Data::Bytes(texts) = tensor.data() else { return Ok(()) };
    for (element, text) in texts.iter().enumerate() {
        let checked = match limit {
            Some(limit) => text_rule(text, limit),
            None => Ok(()),
        };
        // ONNX Runtime takes C strings.
        let checked = checked.and_then(|()| match text.contains('\0') {
            true => Err(("nul_character", format!("a NUL character cannot be passed in {}", Datatype::Bytes))),
            false => Ok(()),
        });
        checked.map_err(|(code, detail)| Fault { element: Some(element), code, detail })?;
    }
    Ok(())
}
