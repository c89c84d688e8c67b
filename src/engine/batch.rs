//! Gathers items of equal shape into runs of bounded size, and takes the outputs apart again.

use std::collections::HashMap;

use anyhow::Context;

use crate::model::{Tensor, Value, conform::Item};

/// Where an item's rows are inside a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// The item's position among all items.
    pub position: usize,
    /// Its first row.
    pub from: usize,
    /// How many rows it has.
    pub rows: usize,
}

/// One call of the model: items whose shapes agree in all but the first dimension.
#[derive(Debug, Default)]
pub(super) struct Run {
    items: Vec<(usize, Item)>,
    rows: usize,
}

/// Plans the runs for `items`. Without `max_batch_size` every item is a run of its own; an item that brings more rows
/// than that by itself is one too.
pub(super) fn plan(items: Vec<Item>, max_batch_size: Option<usize>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut open: HashMap<Tails, usize> = HashMap::new();
    for (position, item) in items.into_iter().enumerate() {
        let tails = tails(&item);
        let run = open.get(&tails).and_then(|index| runs.get_mut(*index));
        match run.zip(max_batch_size) {
            Some((run, limit)) if run.rows + item.rows <= limit => run.push(position, item),
            _ => {
                open.insert(tails, runs.len());
                let mut run = Run::default();
                run.push(position, item);
                runs.push(run);
            }
        }
    }
    runs
}

/// The shapes of all inputs without their first dimension.
type Tails = Vec<Vec<usize>>;

fn tails(item: &Item) -> Tails {
    item.tensors.iter().map(|tensor| tensor.shape().get(1..).unwrap_or_default().to_vec()).collect()
}

impl Run {
    fn push(&mut self, position: usize, item: Item) {
        self.rows += item.rows;
        self.items.push((position, item));
    }

    /// The members with their rows, and the stacked inputs.
    pub(super) fn into_parts(self) -> (Vec<Member>, Vec<Tensor>) {
        let mut from = 0;
        let member = |(position, item): &(usize, Item)| {
            let member = Member { position: *position, from, rows: item.rows };
            from += item.rows;
            member
        };
        let members = self.items.iter().map(member).collect();
        let mut items: Vec<Item> = self.items.into_iter().map(|(_, item)| item).collect();
        if items.len() == 1 {
            return (members, items.pop().map(|item| item.tensors).unwrap_or_default());
        }
        let inputs = items.first().map_or(0, |item| item.tensors.len());
        let stacked = (0..inputs).filter_map(|input| Tensor::stack(items.iter().map(|item| &item.tensors[input])));
        (members, stacked.collect())
    }
}

/// The outputs of each member, by its position.
pub(super) fn scatter(members: &[Member], outputs: &[Value]) -> anyhow::Result<Vec<(usize, Vec<Value>)>> {
    let total: usize = members.iter().map(|member| member.rows).sum();
    for output in outputs {
        let rows = output.tensor.shape().first();
        anyhow::ensure!(
            rows == Some(&total),
            "an output has shape {:?} for {total} rows of input: the model cannot be batched",
            output.tensor.shape()
        );
    }
    members
        .iter()
        .map(|member| {
            let rows = |output: &Value| {
                let tensor = output.tensor.rows(member.from, member.rows).context("rows are missing")?;
                Ok(Value { tensor, keys: output.keys.clone() })
            };
            Ok((member.position, outputs.iter().map(rows).collect::<anyhow::Result<_>>()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Data;

    fn item(values: &[i64]) -> Item {
        let tensor = Tensor::new(vec![1, values.len()], Data::Int64(values.to_vec())).unwrap();
        Item { tensors: vec![tensor], rows: 1, whole: false, length: None }
    }

    #[test]
    fn runs_hold_equal_shapes_up_to_the_largest_batch() {
        let items = vec![item(&[1]), item(&[2, 3]), item(&[4]), item(&[5]), item(&[6, 7])];
        let runs = plan(items, Some(2));
        let members: Vec<Vec<usize>> =
            runs.iter().map(|run| run.items.iter().map(|(position, _)| *position).collect()).collect();
        assert_eq!(members, [vec![0, 2], vec![1, 4], vec![3]]);
    }

    #[test]
    fn every_item_gets_its_own_rows_back() {
        let (members, inputs) = plan(vec![item(&[1, 2]), item(&[3, 4])], Some(8)).pop().unwrap().into_parts();
        let outputs: Vec<Value> = inputs.into_iter().map(|tensor| Value { tensor, keys: None }).collect();
        let scattered = scatter(&members, &outputs).unwrap();
        assert_eq!(scattered[1].1[0].tensor, item(&[3, 4]).tensors[0]);
    }

    #[test]
    fn without_batching_every_item_is_a_run() {
        assert_eq!(plan(vec![item(&[1]), item(&[2])], None).len(), 2);
    }
}
