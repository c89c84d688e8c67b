//! From an input to tensors: fits it to the declaration, then applies what the manifest says about text.

use crate::{
    error::Violation,
    model::{
        Data, Input, Signature, Tensor, TensorSpec,
        conform::{Item, NamedTensor, Rules, TextIntake, ZeroSizes},
    },
};

/// How a model's inputs are made.
#[derive(Debug)]
pub struct Intake {
    rules: Rules,
    lowercase: bool,
}

impl Intake {
    /// `lowercase` applies to the texts that `rules` take.
    pub const fn new(rules: Rules, lowercase: bool) -> Self {
        Self { rules, lowercase }
    }

    /// Sets the longest text, in characters.
    pub const fn limit_texts(&mut self, max_chars: usize) {
        self.rules.max_text_chars = max_chars;
    }

    /// Sets the dimensions that may have the size 0.
    pub fn limit_zeros(&mut self, zeros: ZeroSizes) {
        self.rules.zeros = Some(zeros);
    }

    /// Whether an item leaves out the first dimension of the declared shapes.
    pub const fn has_batch_dimension(&self) -> bool {
        self.rules.batched
    }

    /// Makes tensors of `input`, which stands at `pointer` in the caller's document.
    ///
    /// # Errors
    /// All violations of what the model declares.
    pub fn check(&self, input: Input, pointer: &str) -> Result<Item, Vec<Violation>> {
        let mut item = self.rules.conform(input, pointer)?;
        self.lower(&mut item);
        Ok(item)
    }

    /// Makes items of `tensors`, each with its whole shape.
    ///
    /// # Errors
    /// All violations of what the model declares.
    pub fn check_tensors(&self, tensors: Vec<NamedTensor>) -> Result<Vec<Item>, Vec<Violation>> {
        let mut items = self.rules.conform_tensors(tensors)?;
        items.iter_mut().for_each(|item| self.lower(item));
        Ok(items)
    }

    /// Whether `item` is one that could have been made of a caller's input, as far as datatypes and shapes tell.
    pub fn admits(&self, item: &Item) -> bool {
        let is_text = |tensor: &Tensor| tensor.shape() == [1, 1] && matches!(tensor.data(), Data::Bytes(_));
        if let ([only], Some(TextIntake::Tokens)) = (&item.tensors[..], self.rules.text)
            && is_text(only)
        {
            return item.rows == 1;
        }
        let specs = &self.rules.signature.inputs;
        let admits = |(spec, tensor): (&TensorSpec, &Tensor)| {
            let (shape, declared) = (tensor.shape(), &spec.shape[..]);
            // Without declared dimensions, the graph leaves even their number open.
            let shaped = declared.is_empty()
                || declared.len() == shape.len() && declared.iter().zip(shape).all(|(dim, size)| dim.admits(*size));
            let rows = !self.rules.batched || shape.first() == Some(&item.rows);
            spec.datatype == tensor.data().datatype() && shaped && rows
        };
        let sized = |(index, tensor): (usize, &Tensor)| self.rules.forbidden_zero(index, tensor).is_none();
        let complete = specs.len() == item.tensors.len() && item.length.is_none();
        complete
            && (self.rules.batched || item.rows == 1)
            && specs.iter().zip(&item.tensors).all(admits)
            && item.tensors.iter().enumerate().all(sized)
    }

    /// How many items become of `tensors`.
    pub fn items_in(&self, tensors: &[NamedTensor]) -> usize {
        self.rules.items_in(tensors)
    }

    /// What the graph takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.rules.signature
    }

    fn lower(&self, item: &mut Item) {
        let index = match self.rules.text {
            Some(TextIntake::Input(index)) => index,
            Some(TextIntake::Tokens) | None => 0,
        };
        let text = item.tensors.get_mut(index).filter(|_| self.lowercase);
        if let Some(Data::Bytes(texts)) = text.map(Tensor::data_mut) {
            // Unicode's rules, the same under every locale: the graph must not lower-case by itself.
            texts.iter_mut().for_each(|text| *text = text.to_lowercase());
        }
    }
}
