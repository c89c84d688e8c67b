//! Sizes of 0. Some kernels of ONNX Runtime end the process for a dimension of 0 in their input, and no graph says whether it
//! has one of them. So a size of 0 reaches a graph only where one of its own samples, or a first run, has shown that it can.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Item, Rules};
use crate::model::{
    signature::{Dim, Signature},
    tensor::Tensor,
};

/// The dimensions that may have the size 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ZeroSizes {
    /// Whether no rows at all are answered, which takes no run where rows are independent of each other.
    no_rows: bool,
    /// Inputs and their dimensions, by number, of which any may be 0.
    dimensions: BTreeSet<(usize, usize)>,
    /// Inputs, and dimensions that were 0 together in a sample. What was shown together says nothing of a part of it.
    shown: BTreeSet<(usize, Vec<usize>)>,
}

/// Combinations that are kept: a golden file has some samples.
const MAX_SHOWN: usize = 64;

impl ZeroSizes {
    /// None but the number of rows, and that where rows are `independent`.
    pub const fn new(independent: bool) -> Self {
        Self { no_rows: independent, dimensions: BTreeSet::new(), shown: BTreeSet::new() }
    }

    /// A graph of arithmetic alone has taken `tensors`, which are in the order of its inputs: each of their dimensions may be
    /// 0, whatever the others are.
    pub fn learn(&mut self, tensors: &[Tensor]) {
        let places = tensors.iter().enumerate().flat_map(|(input, tensor)| {
            let zeros = tensor.shape().iter().enumerate().filter(|(_, size)| **size == 0);
            zeros.map(move |(dimension, _)| (input, dimension))
        });
        self.dimensions.extend(places);
    }

    /// The graph has taken `tensors` of a sample, which are in the order of its inputs.
    pub fn show(&mut self, tensors: &[Tensor]) {
        for (input, tensor) in tensors.iter().enumerate() {
            let zeros = zeros_of(tensor);
            if !zeros.is_empty() && self.shown.len() < MAX_SHOWN {
                self.shown.insert((input, zeros));
            }
        }
    }
}

fn zeros_of(tensor: &Tensor) -> Vec<usize> {
    let zeros = tensor.shape().iter().enumerate().filter(|(_, size)| **size == 0);
    zeros.map(|(dimension, _)| dimension).collect()
}

impl Rules {
    /// The first dimension of 0 that `tensor` must not have as the input of this number.
    pub fn forbidden_zero(&self, input: usize, tensor: &Tensor) -> Option<usize> {
        // Nearly every tensor has elements, and so no such dimension.
        let zeros = self.zeros.as_ref().filter(|_| tensor.data().is_empty())?;
        let declared = |dimension: usize| self.signature.inputs.get(input)?.shape.get(dimension);
        let mut found = zeros_of(tensor);
        if zeros.shown.contains(&(input, found.clone())) {
            return None;
        }
        found.retain(|dimension| {
            let rows = self.batched && *dimension == 0 && zeros.no_rows;
            !rows && declared(*dimension) != Some(&Dim::Fixed(0))
        });
        let (shown, known) = ((input, found), &zeros.dimensions);
        if zeros.shown.contains(&shown) {
            return None;
        }
        shown.1.into_iter().find(|dimension| !known.contains(&(input, *dimension)))
    }
}

/// The shape of an output for an item without rows: other dimensions are as declared, or as large as the dimension of an input
/// that has the same name. What is not known is 0.
pub fn shape_without_rows(declared: &[Dim], signature: &Signature, item: &Item) -> Vec<usize> {
    let named = |name: &str| {
        let sizes =
            signature.inputs.iter().zip(&item.tensors).flat_map(|(spec, tensor)| spec.shape.iter().zip(tensor.shape()));
        sizes.filter_map(|(dim, size)| matches!(dim, Dim::Dynamic(Some(own)) if **own == *name).then_some(*size)).next()
    };
    let size = |(place, dim): (usize, &Dim)| match dim {
        _ if place == 0 => 0,
        Dim::Fixed(size) => *size,
        Dim::Dynamic(Some(name)) => named(name).unwrap_or(0),
        Dim::Dynamic(None) => 0,
    };
    declared.iter().enumerate().map(size).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Data, Datatype, TensorSpec, conform::NamedTensor};

    /// Rules for one input `x`; a dimension below 0 is dynamic.
    fn rules(shape: &[i64], zeros: Option<ZeroSizes>) -> Rules {
        let dim = |size: &i64| usize::try_from(*size).map_or(Dim::Dynamic(None), Dim::Fixed);
        let shape = shape.iter().map(dim).collect();
        let inputs = vec![TensorSpec { name: "x".into(), datatype: Datatype::Fp32, shape }];
        let signature = Arc::new(Signature { inputs, outputs: Vec::new() });
        Rules { signature, batched: true, several_rows: true, text: None, max_text_chars: 10, missing: false, zeros }
    }

    fn conform(rules: &Rules, json: &str) -> Result<Item, (String, &'static str)> {
        let violations = rules.conform(serde_json::from_str(json).unwrap(), "/input");
        violations.map_err(|violations| (violations[0].pointer.clone(), violations[0].code))
    }

    #[test]
    fn a_size_of_zero_is_taken_where_a_sample_has_shown_it() {
        let open = rules(&[-1, -1, 3], Some(ZeroSizes::new(true)));
        let fixed = rules(&[-1, 0], Some(ZeroSizes::new(true)));
        for (json, pointer) in [("[]", "/input"), ("[[]]", "/input/0"), ("[[],[]]", "/input/0")] {
            assert_eq!(conform(&open, json), Err((pointer.to_owned(), "wrong_length")), "{json}");
        }
        assert_eq!(conform(&fixed, "[]").unwrap().tensors[0].shape(), [1, 0]);
        let mut zeros = ZeroSizes::new(true);
        zeros.show(&conform(&Rules { zeros: None, ..open.clone() }, "[[]]").unwrap().tensors);
        let shown = Rules { zeros: Some(zeros), ..open.clone() };
        assert_eq!(conform(&shown, "[[],[]]").unwrap().tensors[0].shape(), [2, 0, 3]);
        let rows_of = |rules: &Rules, shape: &[usize]| {
            let tensor = Tensor::new(shape.to_vec(), Data::Fp32(Vec::new())).unwrap();
            let tensors = vec![NamedTensor { name: "x".to_owned(), tensor }];
            rules.conform_tensors(tensors).map(|items| items[0].rows).map_err(|violations| violations[0].code)
        };
        assert_eq!(rows_of(&open, &[0, 2, 3]), Ok(0));
        assert_eq!(rows_of(&open, &[2, 0, 3]), Err("wrong_shape"));
        let mut together = ZeroSizes::new(true);
        together.show(&[Tensor::new(vec![2, 0, 0], Data::Fp32(Vec::new())).unwrap()]);
        let together = Rules { zeros: Some(together), ..rules(&[-1, -1, -1], None) };
        let taken = |shape: &[usize]| rows_of(&together, shape).is_ok();
        assert!(
            taken(&[1, 0, 0]) && !taken(&[1, 0, 7]) && !taken(&[1, 7, 0]),
            "what was 0 together says nothing of a part"
        );
        let dependent = Rules { zeros: Some(ZeroSizes::new(false)), ..open };
        assert_eq!(rows_of(&dependent, &[0, 2, 3]), Err("wrong_shape"));
    }
}
