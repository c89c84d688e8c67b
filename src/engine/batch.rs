//! Which items may share a run; makes the inputs of a run, and takes its outputs apart again.

use std::{borrow::Cow, collections::HashMap};

use anyhow::Context;

use crate::model::{Dim, Signature, Tensor, Value, conform::Item};

/// Which items may share a run.
#[derive(Debug, Clone, Default)]
pub struct Sharing {
    /// Rows in one run; `None` runs every item by itself.
    pub max_batch_size: Option<usize>,
    /// Set where items of different length may share a run.
    pub padding: Option<Padding>,
}

/// What makes items equally long: their second dimension is filled up.
#[derive(Debug, Clone)]
pub struct Padding {
    /// What is added to each input, in the order of the signature.
    pub values: Vec<i64>,
    /// The only length that the graph takes, if it has one.
    pub fixed: Option<usize>,
    /// How much of a run may be added elements, from 0 to 1.
    pub most: f64,
    /// Which outputs have the inputs' second dimension, and so what was added there.
    pub per_element: Vec<bool>,
}

impl Padding {
    /// What is answered, by what the graph gives: without the padding, a length is any.
    pub fn answers(&self, graph: &Signature) -> Signature {
        let mut answers = graph.clone();
        for (output, _) in answers.outputs.iter_mut().zip(&self.per_element).filter(|(_, per_element)| **per_element) {
            if let Some(length) = output.shape.get_mut(1) {
                *length = Dim::Dynamic(None);
            }
        }
        answers
    }
}

/// Items that go through the graph together.
#[derive(Debug, Default)]
pub(super) struct Lot {
    pub items: Vec<Item>,
    pub load: Load,
}

/// How much a run has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub rows: usize,
    /// The longest row.
    pub longest: usize,
    /// Elements that are meant, of `rows * longest`.
    meant: usize,
}

impl Load {
    fn of(item: &Item) -> Self {
        let length = item.length.unwrap_or(1);
        Self { rows: item.rows, longest: length, meant: item.rows * length }
    }

    fn and(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, longest: self.longest.max(other.longest), meant: self.meant + other.meant }
    }

    /// The share of added elements.
    fn waste(self) -> f64 {
        let all = self.rows * self.longest;
        if all == 0 { 0.0 } else { 1.0 - self.meant as f64 / all as f64 }
    }
}

/// Shapes without what may differ among the items of a run.
type Tails<'a> = Vec<(Option<usize>, &'a [usize])>;

impl Sharing {
    /// Divides `items` into as few runs as rows and padding allow, each with its items' positions. An item that brings more
    /// rows than a run may have is a run of its own.
    pub(super) fn plan(&self, items: Vec<Item>) -> Vec<(Vec<usize>, Lot)> {
        let Some(rows) = self.max_batch_size.filter(|_| items.len() > 1) else {
            let lot = |item| Lot { load: Load::of(&item), items: vec![item] };
            return items.into_iter().enumerate().map(|(position, item)| (vec![position], lot(item))).collect();
        };
        let runs = self.divide(&items, rows);
        let mut items: Vec<Option<Item>> = items.into_iter().map(Some).collect();
        let mut lot = |positions: Vec<usize>| {
            let members: Vec<Item> = positions.iter().filter_map(|position| items.get_mut(*position)?.take()).collect();
            let load = members.iter().map(Load::of).fold(Load::default(), Load::and);
            (positions, Lot { items: members, load })
        };
        runs.into_iter().map(&mut lot).collect()
    }

    fn divide(&self, items: &[Item], rows: usize) -> Vec<Vec<usize>> {
        let mut kinds: HashMap<Tails<'_>, usize> = HashMap::new();
        let mut alike: Vec<Vec<usize>> = Vec::new();
        for (position, item) in items.iter().enumerate() {
            let kind = *kinds.entry(self.tails(item)).or_insert(alike.len());
            match alike.get_mut(kind) {
                Some(positions) => positions.push(position),
                None => alike.push(vec![position]),
            }
        }
        let mut runs = Vec::new();
        for mut positions in alike {
            // Neighbours in length waste least on each other.
            positions.sort_by_key(|position| items[*position].length);
            let mut load = Load::default();
            for position in positions {
                let with = load.and(Load::of(&items[position]));
                match runs.last_mut() {
                    Some(run) if load.rows > 0 && with.rows <= rows && self.wastes_little(with) => {
                        Vec::push(run, position);
                        load = with;
                    }
                    _ => {
                        load = Load::of(&items[position]);
                        runs.push(vec![position]);
                    }
                }
            }
        }
        runs
    }

    /// Which of `others` go along with `first`, and whether the run is full with them: those that are nearest in length,
    /// as far as rows and padding allow.
    pub(super) fn companions(&self, first: &Lot, others: &[&Lot]) -> (Vec<usize>, bool) {
        let (Some(most), Some(item)) = (self.max_batch_size, first.items.first()) else { return (Vec::new(), false) };
        let (mut load, mut chosen) = (first.load, Vec::new());
        if load.rows >= most {
            return (chosen, true);
        }
        let tails = self.tails(item);
        let alike = |lot: &Lot| lot.items.first().is_some_and(|item| self.tails(item) == tails);
        let mut near: Vec<usize> = (0..others.len()).filter(|index| alike(others[*index])).collect();
        near.sort_by_key(|index| others[*index].load.longest.abs_diff(first.load.longest));
        for index in near {
            let with = load.and(others[index].load);
            if with.rows <= most && self.wastes_little(with) {
                chosen.push(index);
                load = with;
            }
        }
        (chosen, load.rows >= most)
    }

    fn tails<'a>(&self, item: &'a Item) -> Tails<'a> {
        let padded = self.padding.is_some() && item.length.is_some();
        let tail = |tensor: &'a Tensor| match tensor.shape() {
            [_, length, rest @ ..] => ((!padded).then_some(*length), rest),
            _ => (None, &[][..]),
        };
        item.tensors.iter().map(tail).collect()
    }

    fn wastes_little(&self, load: Load) -> bool {
        match &self.padding {
            // Everything is filled up to one length anyway.
            Some(Padding { fixed: Some(_), .. }) | None => true,
            Some(padding) => load.waste() <= padding.most,
        }
    }

    /// The inputs of a run of `items`; lent where there is nothing to add to the only one.
    pub(super) fn inputs<'a>(&self, items: &[&'a Item]) -> anyhow::Result<Cow<'a, [Tensor]>> {
        let longest = items.iter().filter_map(|item| item.length).max();
        let padding = longest.and_then(|longest| {
            let padding = self.padding.as_ref()?;
            Some((padding.fixed.unwrap_or(longest), padding))
        });
        if let ([item], true) = (items, padding.is_none_or(|(length, _)| Some(length) == longest)) {
            return Ok(Cow::Borrowed(&item.tensors));
        }
        let inputs = items.first().map_or(0, |item| item.tensors.len());
        let stack = |input: usize| {
            let rows = items.iter().filter_map(|item| item.tensors.get(input));
            match padding {
                Some((length, padding)) => {
                    Tensor::stack_padded(rows, length, padding.values.get(input).copied().unwrap_or_default())
                }
                None => Tensor::stack(rows),
            }
        };
        (0..inputs).map(stack).collect::<Option<Vec<_>>>().map(Cow::Owned).context("items that differ share a run")
    }

    /// The outputs of each of `items`, without what was added.
    pub(super) fn scatter(&self, items: &[&Item], outputs: Vec<Value>) -> anyhow::Result<Vec<Vec<Value>>> {
        if let [item] = items {
            return Ok(vec![self.cut(item, outputs)]);
        }
        let total: usize = items.iter().map(|item| item.rows).sum();
        for output in &outputs {
            let shape = output.tensor.shape();
            anyhow::ensure!(
                shape.first() == Some(&total),
                "an output has shape {shape:?} for {total} rows of input: the model cannot be batched"
            );
        }
        let mut from = 0;
        let mut own = |item: &&Item| {
            let rows = |output: &Value| {
                let tensor = output.tensor.rows(from, item.rows).context("rows are missing")?;
                Ok(Value { tensor, keys: output.keys.clone() })
            };
            let values = outputs.iter().map(rows).collect::<anyhow::Result<_>>()?;
            from += item.rows;
            Ok(self.cut(item, values))
        };
        items.iter().map(&mut own).collect()
    }

    fn cut(&self, item: &Item, mut outputs: Vec<Value>) -> Vec<Value> {
        if let (Some(padding), Some(length)) = (&self.padding, item.length) {
            for (output, per_element) in outputs.iter_mut().zip(&padding.per_element) {
                if let (true, Some(cut)) = (*per_element, output.tensor.cut(length)) {
                    output.tensor = cut;
                }
            }
        }
        outputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Data;

    fn item(values: &[i64], length: Option<usize>) -> Item {
        let tensor = Tensor::new(vec![1, values.len()], Data::Int64(values.to_vec())).unwrap();
        Item { tensors: vec![tensor], rows: 1, whole: false, raw: false, length }
    }

    fn text(length: usize) -> Item {
        item(&vec![7; length], Some(length))
    }

    fn lot(item: Item) -> Lot {
        Lot { load: Load::of(&item), items: vec![item] }
    }

    fn sharing(most: Option<f64>) -> Sharing {
        let padding = |most| Padding { values: vec![-1], fixed: None, most, per_element: vec![true] };
        Sharing { max_batch_size: Some(4), padding: most.map(padding) }
    }

    fn planned(sharing: &Sharing, items: Vec<Item>, rows: Option<usize>) -> Vec<Vec<usize>> {
        let sharing = Sharing { max_batch_size: rows, ..sharing.clone() };
        sharing.plan(items).into_iter().map(|(positions, _)| positions).collect()
    }

    #[test]
    fn runs_hold_equal_shapes_up_to_the_largest_batch() {
        let values: [&[i64]; 5] = [&[1], &[2, 3], &[4], &[5], &[6, 7]];
        let items = values.map(|values| item(values, None)).to_vec();
        assert_eq!(planned(&sharing(None), items.clone(), Some(2)), [vec![0, 2], vec![3], vec![1, 4]]);
        assert_eq!(planned(&sharing(None), items, None).len(), 5);
    }

    #[test]
    fn lengths_share_a_run_as_far_as_padding_may_go() {
        let texts = || [10, 3, 9, 4, 40].map(text).to_vec();
        assert_eq!(planned(&sharing(Some(0.2)), texts(), Some(4)), [vec![1, 3], vec![2, 0], vec![4]]);
        assert_eq!(planned(&sharing(Some(0.0)), texts(), Some(4)).len(), 5);
        assert_eq!(planned(&sharing(Some(1.0)), texts(), Some(4)), [vec![1, 3, 2, 0], vec![4]]);
    }

    #[test]
    fn the_nearest_in_length_go_along() {
        let others = [12, 30, 10, 9, 11, 10].map(|length| lot(text(length)));
        let others: Vec<&Lot> = others.iter().collect();
        assert_eq!(sharing(Some(0.2)).companions(&lot(text(10)), &others), (vec![2, 5, 3], true));
        assert_eq!(sharing(Some(0.2)).companions(&lot(text(31)), &others), (vec![1], false));
        assert_eq!(sharing(None).companions(&lot(item(&[1; 10], None)), &others), (vec![2, 5], false));
        let alone = Sharing::default();
        assert_eq!(alone.companions(&lot(text(10)), &others), (vec![], false));
    }

    #[test]
    fn every_item_gets_its_own_elements_back() {
        let sharing = sharing(Some(1.0));
        let (short, long) = (item(&[1, 2], Some(2)), item(&[3, 4, 5], Some(3)));
        let inputs = sharing.inputs(&[&short, &long]).unwrap();
        assert_eq!(inputs[0], Tensor::new(vec![2, 3], Data::Int64(vec![1, 2, -1, 3, 4, 5])).unwrap());
        let outputs = inputs.iter().map(|tensor| Value { tensor: tensor.clone(), keys: None }).collect();
        let scattered = sharing.scatter(&[&short, &long], outputs).unwrap();
        assert_eq!((&scattered[0][0].tensor, &scattered[1][0].tensor), (&short.tensors[0], &long.tensors[0]));
    }

    #[test]
    fn a_graph_of_one_length_gets_that_length() {
        let mut sharing = sharing(Some(0.0));
        sharing.padding.as_mut().unwrap().fixed = Some(4);
        let text = item(&[1, 2], Some(2));
        let inputs = sharing.inputs(&[&text]).unwrap();
        assert_eq!(inputs[0], Tensor::new(vec![1, 4], Data::Int64(vec![1, 2, -1, -1])).unwrap());
        assert_eq!(planned(&sharing, vec![text, item(&[1], Some(1))], Some(4)).len(), 1);
    }
}
