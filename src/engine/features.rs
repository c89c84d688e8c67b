//! Counts the numbers of rows that were run, where their model came with what they should be.

use crate::{
    model::{Data, Tensor},
    telemetry::metrics::{Counting, InputFeatures, ModelMetrics},
};

/// Counts the inputs of a run of so many rows.
pub(super) fn count(metrics: &ModelMetrics, inputs: &[Tensor], rows: usize) {
    let Some(features) = &metrics.features else { return };
    let mut counting = features.count();
    for input in features.inputs() {
        if let Some(tensor) = inputs.get(input.input) {
            count_rows(&mut counting, input, tensor.data(), rows);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a mean of whole numbers beyond 2^53 needs no more digits than that")]
fn count_rows(counting: &mut Counting<'_>, input: &InputFeatures, data: &Data, rows: usize) {
    // An item without a batch dimension is one row.
    let width = (data.len() / rows.max(1)).max(1);
    macro_rules! numbers {
        ($values:expr, $number:expr) => {
            $values.chunks(width).for_each(|row| counting.row(input, row.iter().map($number)))
        };
    }
    match data {
        Data::Uint8(values) => numbers!(values, |it| f64::from(*it)),
        Data::Uint16(values) => numbers!(values, |it| f64::from(*it)),
        Data::Uint32(values) => numbers!(values, |it| f64::from(*it)),
        Data::Uint64(values) => numbers!(values, |it| *it as f64),
        Data::Int8(values) => numbers!(values, |it| f64::from(*it)),
        Data::Int16(values) => numbers!(values, |it| f64::from(*it)),
        Data::Int32(values) => numbers!(values, |it| f64::from(*it)),
        Data::Int64(values) => numbers!(values, |it| *it as f64),
        Data::Fp16(values) => numbers!(values, |it| f64::from(*it)),
        Data::Bf16(values) => numbers!(values, |it| f64::from(*it)),
        Data::Fp32(values) => numbers!(values, |it| f64::from(*it)),
        Data::Fp64(values) => numbers!(values, |it| *it),
        // No numbers: nobody declares features of them.
        Data::Bool(_) | Data::Bytes(_) => {}
    }
}
