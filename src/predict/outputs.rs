//! Predictions as named tensors: the rows of several items one below the other.

use std::{borrow::Cow, sync::Arc};

use super::Predictions;
use crate::{
    error::{Error, MOST_VIOLATIONS, Violation},
    model::{Prediction, Signature, Tensor, TensorSpec, binary},
};

/// One output of a request.
#[derive(Debug)]
pub struct OutputTensor<'a> {
    /// Its name in the graph.
    pub name: &'a str,
    /// Its shape, batch dimension included, and its elements: lent where only one item was asked for.
    pub tensor: Cow<'a, Tensor>,
}

/// A large output, lent by the prediction that holds it: its elements are sent from where they lie.
#[derive(Debug)]
pub struct LentTensor {
    prediction: Arc<Prediction>,
    place: usize,
}

impl AsRef<[u8]> for LentTensor {
    /// Little-endian, row-major.
    fn as_ref(&self) -> &[u8] {
        let Prediction::Named(values) = &*self.prediction else { return &[] };
        values.get(self.place).and_then(|(_, value)| binary::as_bytes(value.tensor.data())).unwrap_or_default()
    }
}

/// Below this, copying costs less than a piece of its own.
const LEAST_LENT: usize = 64 * 1024;

/// Checks the names of wanted outputs, which stand in a list at `/outputs`.
///
/// # Errors
/// `invalid_input` for names that are none, or stand twice.
pub(super) fn check(interface: &Signature, wanted: &[String]) -> Result<(), Error> {
    let fault = |(place, name): (usize, &String)| {
        let pointer = || format!("/outputs/{place}/name");
        if !interface.outputs.iter().any(|spec| *spec.name == **name) {
            let known: Vec<_> = interface.outputs.iter().take(16).map(ToString::to_string).collect();
            let detail = format!("there is no such output: the model gives {}", known.join(", "));
            return Some(Violation::new(pointer(), "unknown_output", detail));
        }
        let twice = wanted[..place].contains(name);
        twice.then(|| Violation::new(pointer(), "duplicate_output", "this output stands twice"))
    };
    let violations: Vec<_> = wanted.iter().enumerate().filter_map(fault).take(MOST_VIOLATIONS).collect();
    if violations.is_empty() { Ok(()) } else { Err(Error::Invalid(violations)) }
}

impl Predictions {
    /// The outputs that `wanted` names, in its order; all when it names none. For requests of tensors only.
    ///
    /// # Errors
    /// `invalid_input` where outputs of several texts have no common shape; `internal`.
    pub fn outputs(&self, wanted: &[String]) -> Result<Vec<OutputTensor<'_>>, Error> {
        let specs = self.loaded.interface.outputs.iter();
        let specs: Vec<&TensorSpec> = match wanted {
            [] => specs.collect(),
            wanted => wanted.iter().filter_map(|name| specs.clone().find(|spec| *spec.name == **name)).collect(),
        };
        specs.into_iter().map(|spec| Ok(OutputTensor { name: &spec.name, tensor: self.output(&spec.name)? })).collect()
    }

    /// The bytes of the output `name`, if they are many and lie together as they are sent.
    pub fn lend(&self, name: &str) -> Option<LentTensor> {
        let [only] = &self.predictions[..] else { return None };
        let Prediction::Named(values) = &*only.prediction else { return None };
        let place = values.iter().position(|(own, _)| **own == *name)?;
        let lent = LentTensor { prediction: Arc::clone(&only.prediction), place };
        (lent.as_ref().len() >= LEAST_LENT).then_some(lent)
    }

    fn output(&self, name: &str) -> Result<Cow<'_, Tensor>, Error> {
        let lost = || Error::internal(anyhow::anyhow!("model '{}' gave no '{name}'", self.loaded.model.id()));
        match &self.predictions[..] {
            [only] => named(&only.prediction, name).map(Cow::Borrowed).ok_or_else(lost),
            several => {
                let rows: Option<Vec<&Tensor>> = several.iter().map(|each| named(&each.prediction, name)).collect();
                let stacked = Tensor::stack(rows.ok_or_else(lost)?.into_iter());
                stacked.map(Cow::Owned).ok_or_else(|| {
                    let detail = format!("output '{name}' differs in shape from text to text: send them one by one");
                    Error::Invalid(vec![Violation::new("/inputs/0", "no_common_shape", detail)])
                })
            }
        }
    }
}

fn named<'a>(prediction: &'a Arc<Prediction>, name: &str) -> Option<&'a Tensor> {
    let Prediction::Named(values) = &**prediction else { return None };
    values.iter().find(|(own, _)| **own == *name).map(|(_, value)| &value.tensor)
}
