//! One value on its way to one declared input: its shape, its texts, its elements.

use std::fmt::Write;

use super::elements;
use crate::{
    error::Violation,
    model::{
        binary::shape_fault,
        nested::{Leaves, Nested},
        signature::{Dim, TensorSpec},
        tensor::{Data, Tensor},
    },
};

/// What a shape may hide inside of an empty list: dimensions that a caller cannot write come from the declaration alone.
const MAX_HIDDEN_ELEMENTS: usize = 8 * 1024 * 1024;

/// A value that fits.
pub(super) struct Fitted {
    pub tensor: Tensor,
    /// Whether the caller wrote the batch dimension.
    pub whole: bool,
}

/// One value on its way to one declared input.
pub(super) struct Fitting<'a> {
    pub spec: &'a TensorSpec,
    pub batched: bool,
    pub pointer: &'a str,
    /// Set for the text input only.
    pub max_text_chars: Option<usize>,
    /// Whether NaN may stand for a number that is missing.
    pub missing: bool,
}

impl Fitting<'_> {
    pub(super) fn tensor(&self, nested: Nested) -> Result<Fitted, Violation> {
        let refused = !self.missing || !self.spec.datatype.is_float();
        if let Some(fault) = nested.missing.as_ref().filter(|_| refused).or(nested.fault.as_ref()) {
            return Err(self.violation(&fault.path, fault.code, fault.detail.as_str()));
        }
        let (shape, whole) = self.shape(&nested.shape)?;
        if let Some((code, detail)) = shape_fault(&shape, MAX_HIDDEN_ELEMENTS) {
            return Err(self.violation(&[], code, detail));
        }
        self.check_texts(&nested)?;
        let data = self.data(nested.leaves, &nested.shape)?;
        let tensor = Tensor::new(shape, data)
            .ok_or_else(|| self.violation(&[], "wrong_shape", "the value does not fill its shape"))?;
        Ok(Fitted { tensor, whole })
    }

    /// The violation of a tensor that has the size 0 in `dimension`, which no list of its caller can be pointed to that lies
    /// in an empty one.
    pub(super) fn zero(&self, fitted: &Fitted, dimension: usize) -> Violation {
        let written = if fitted.whole { dimension } else { dimension.saturating_sub(1) };
        let outer = fitted.tensor.shape().iter().skip(usize::from(!fitted.whole)).take_while(|size| **size > 0).count();
        let detail = format!("{}: the model declares {}", zero_words(dimension), self.spec);
        self.violation(&vec![0; written.min(outer)], "wrong_length", detail)
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
        if let Some(shape) = completed(given, item) {
            return Ok((with_batch(&shape), !self.batched));
        }
        if let Some(shape) = completed(given, declared) {
            return Ok((shape, true));
        }
        if given.len() == item.len() {
            self.lengths(item, given)?;
            return Ok((with_batch(given), false));
        }
        // A bare number or string where exactly one is wanted.
        if given.is_empty() && item.iter().all(|dim| *dim == Dim::Fixed(1)) {
            return Ok((with_batch(&vec![1; item.len()]), !self.batched));
        }
        let detail = format!("expected {}, got {}", list_words(item.len()), list_words(given.len()));
        Err(self.violation(&[], "wrong_rank", format!("{detail}: the model declares {}", self.spec)))
    }

    fn lengths(&self, declared: &[Dim], given: &[usize]) -> Result<(), Violation> {
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
        elements::convert(leaves, self.spec.datatype, self.missing)
            .map_err(|misfit| self.violation(&position(misfit.leaf, shape), misfit.code, misfit.detail))
    }

    fn violation(&self, path: &[usize], code: &'static str, detail: impl Into<String>) -> Violation {
        let mut pointer = self.pointer.to_owned();
        for index in path {
            let _ = write!(pointer, "/{index}");
        }
        Violation::new(pointer, code, detail)
    }
}

/// A shape that ends with an empty list, and the dimensions inside of it that nobody can write: `[]` may be meant to have
/// the shape `[0,4]`, and `[[]]` the shape `[1,0,4]`.
fn completed(given: &[usize], declared: &[Dim]) -> Option<Vec<usize>> {
    let hidden = declared.get(given.len()..).filter(|_| given.last() == Some(&0))?;
    let fits = declared.iter().zip(given).all(|(dim, size)| dim.admits(*size));
    let size = |dim: &Dim| if let Dim::Fixed(size) = dim { *size } else { 0 };
    fits.then(|| given.iter().copied().chain(hidden.iter().map(size)).collect())
}

/// What is wrong with a dimension of 0.
pub(super) fn zero_words(dimension: usize) -> String {
    format!("dimension {dimension} has the size 0, and no sample of the model has shown that its graph takes it")
}

/// What every text must be, wherever it comes from: not blank, not longer than `max_chars` characters.
pub(super) fn text_rule(text: &str, max_chars: usize) -> Result<(), (&'static str, String)> {
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
