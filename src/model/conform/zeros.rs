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
    /// Inputs and their dimensions, by number.
    dimensions: BTreeSet<(usize, usize)>,
}

impl ZeroSizes {
    /// None but the number of rows, and that where rows are `independent`.
    pub const fn new(independent: bool) -> Self {
        Self { no_rows: independent, dimensions: BTreeSet::new() }
    }

    /// The graph has taken `tensors`, which are in the order of its inputs.
    pub fn learn(&mut self, tensors: &[Tensor]) {
        let places = tensors.iter().enumerate().flat_map(|(input, tensor)| {
            let zeros = tensor.shape().iter().enumerate().filter(|(_, size)| **size == 0);
            zeros.map(move |(dimension, _)| (input, dimension))
        });
        self.dimensions.extend(places);
    }
}

impl Rules {
    /// The first dimension of 0 that `tensor` must not have as the input of this number.
    pub fn forbidden_zero(&self, input: usize, tensor: &Tensor) -> Option<usize> {
        let shape = tensor.shape();
        // Nearly every tensor has elements, and so no such dimension.
        let zeros = self.zeros.as_ref().filter(|_| tensor.data().is_empty())?;
        let declared = |dimension: usize| self.signature.inputs.get(input)?.shape.get(dimension);
        (0..shape.len()).find(|dimension| {
            let rows = self.batched && *dimension == 0 && zeros.no_rows;
            let known = rows || zeros.dimensions.contains(&(input, *dimension));
            shape[*dimension] == 0 && !known && declared(*dimension) != Some(&Dim::Fixed(0))
        })
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
