//! Requests without a row, and dimensions of 0: some kernels of ONNX Runtime end the process for them.

use std::sync::Arc;

use super::{Model, Postprocess, batch::Lot, told::Told};
use crate::model::{
    Data, Tensor, TensorSpec, Value,
    conform::{Item, ZeroSizes, shape_without_rows},
};

impl Model {
    /// Sets the dimensions of inputs that may have the size 0. Any may before.
    pub fn limit_zeros(&mut self, zeros: ZeroSizes) {
        self.intake.limit_zeros(zeros);
    }

    /// Sets what names the entries of each output, where a first run showed it.
    pub fn name_entries(&mut self, keys: Vec<Option<Arc<[String]>>>) {
        self.keys = keys;
    }

    /// Answers lots without a row, which need no run and could end the process in one; gives back the others.
    pub(super) fn answer_no_rows(&self, lots: Vec<(Vec<usize>, Lot)>, told: &Told<'_>) -> Vec<(Vec<usize>, Lot)> {
        let (empty, others): (Vec<_>, Vec<_>) = lots.into_iter().partition(|(_, lot)| lot.load.rows == 0);
        for (positions, lot) in empty {
            let outputs = lot.items.iter().map(|item| Ok(self.without_rows(item))).collect();
            told.outputs(&positions, outputs);
        }
        others
    }

    /// The outputs for no rows.
    fn without_rows(&self, item: &Item) -> Vec<Value> {
        let signature = self.intake.signature();
        let output = |(place, spec): (usize, &TensorSpec)| {
            let mut shape = shape_without_rows(&spec.shape, signature, item);
            // What pools them wants a token, and takes its dimension away.
            if let (Postprocess::Embedding { .. }, [_, tokens, _]) = (&self.postprocess, &mut shape[..]) {
                *tokens = 1.max(*tokens);
            }
            let keys = self.keys.get(place).cloned().flatten();
            if let (Some(keys), Some(last)) = (&keys, shape.get_mut(1..).and_then(<[usize]>::last_mut)) {
                *last = keys.len();
            }
            Some(Value { tensor: Tensor::new(shape, Data::empty(spec.datatype))?, keys })
        };
        signature.outputs.iter().enumerate().filter_map(output).collect()
    }
}
