//! Runs items together, and finds out who is to blame when that fails.

use super::{batch::Sharing, words::RunError};
use crate::model::{Tensor, Value, conform::Item};

/// What one item got.
pub(super) type Outputs = Result<Vec<Value>, RunError>;

/// Runs `items` as one, and each half by itself when that fails, down to the items that are to blame: a bad one costs its
/// neighbours nothing but time. At most two runs per item, and for a single bad one about two for each doubling of their
/// number. `run` is the graph.
pub(super) fn together(
    items: &[&Item],
    sharing: &Sharing,
    run: &mut dyn FnMut(&[Tensor], usize) -> Outputs,
) -> Vec<Outputs> {
    let failed = |error: anyhow::Error| RunError::Failed(error.to_string());
    let rows = items.iter().map(|item| item.rows).sum();
    let outputs = sharing.inputs(items).map_err(failed).and_then(|inputs| run(&inputs, rows));
    let error = match outputs.and_then(|outputs| sharing.scatter(items, outputs).map_err(failed)) {
        Ok(outputs) => return outputs.into_iter().map(Ok).collect(),
        Err(error) => error,
    };
    if items.len() < 2 {
        return vec![Err(error)];
    }
    let (one, other) = items.split_at(items.len() / 2);
    let mut outputs = together(one, sharing, run);
    outputs.extend(together(other, sharing, run));
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Data;

    #[test]
    fn a_bad_item_costs_its_neighbours_nothing() {
        let item = |value: i64| {
            let tensor = Tensor::new(vec![1, 1], Data::Int64(vec![value])).unwrap();
            Item { tensors: vec![tensor], rows: 1, whole: false, raw: false, length: None }
        };
        let items: Vec<Item> = (0..16).map(item).collect();
        let sharing = Sharing { max_batch_size: Some(16), padding: None };
        let mut runs = 0;
        // Takes anything but 11, and nothing at all beside it.
        let mut graph = |inputs: &[Tensor], _| {
            runs += 1;
            let Data::Int64(values) = inputs[0].data() else { unreachable!() };
            match values.contains(&11) {
                true => Err(RunError::Rejected(String::new())),
                false => Ok(vec![Value { tensor: inputs[0].clone(), keys: None }]),
            }
        };
        let outputs = together(&items.iter().collect::<Vec<_>>(), &sharing, &mut graph);
        for (position, outputs) in outputs.iter().enumerate() {
            let own = outputs.as_ref().ok().map(|values| &values[0].tensor);
            assert_eq!(own, (position != 11).then_some(&items[position].tensors[0]));
        }
        assert_eq!(runs, 9);
    }
}
