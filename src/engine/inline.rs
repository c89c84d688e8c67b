//! Runs short graphs on the thread that holds the request: to hand a run of ten microseconds to another thread and to be
//! woken up by it costs more than the run.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    batch::{Lot, Sharing},
    features,
    sessions::Sessions,
    strategy::Tried,
    together::{Outputs, together},
};
use crate::{
    model::Data,
    telemetry::{labels::Release, metrics::ModelMetrics},
};

/// What is run without a thread of its own.
#[derive(Debug)]
pub(super) struct Inline {
    sessions: Arc<Sessions>,
    sharing: Sharing,
    /// Larger inputs could take longer than a request's thread may be held up.
    most_bytes: usize,
    /// What a run counts as at the least: a small one takes some microseconds, too.
    least_bytes: usize,
}

impl Inline {
    /// Takes inputs that are as large as what was tried.
    pub(super) fn new(sessions: Arc<Sessions>, sharing: Sharing, tried: &Tried) -> Self {
        Self { sessions, sharing, most_bytes: tried.inline_bytes(), least_bytes: tried.bytes.max(1) }
    }

    /// Whether all of it is little enough.
    pub(super) fn takes<'a>(&self, lots: impl Iterator<Item = &'a Lot>) -> bool {
        let cost = |lot| size(lot).max(self.least_bytes);
        lots.map(cost).fold(0_usize, usize::saturating_add) <= self.most_bytes
    }

    /// Runs a lot at once; `None` when no session is free. What comes out is in the order of its items.
    pub(super) fn run(&self, lot: &Lot, metrics: Option<&ModelMetrics>) -> Option<(Vec<Outputs>, Duration)> {
        let mut session = self.sessions.borrow()?;
        let items: Vec<_> = lot.items.iter().collect();
        let mut spent = Duration::ZERO;
        let outputs = together(&items, &self.sharing, &mut |inputs, rows| {
            let started = Instant::now();
            let outputs = session.run_to_the_end(inputs);
            let time = started.elapsed();
            spent += time;
            if let Some(metrics) = metrics {
                metrics.ran(time, rows);
                if outputs.is_ok() {
                    features::count(metrics, inputs, rows);
                }
            }
            outputs
        });
        if let Some(metrics) = metrics {
            let full = self.sharing.max_batch_size.is_some_and(|most| lot.load.rows >= most);
            metrics.waited(Duration::ZERO);
            metrics.released(if full { Release::Full } else { Release::Idle }, Duration::ZERO);
        }
        Some((outputs, spent))
    }
}

/// The bytes of a lot's elements. Each text counts as the longest one: what is made of several texts may be filled up to one
/// length.
fn size(lot: &Lot) -> usize {
    let (mut bytes, mut texts, mut longest) = (0_usize, 0, 0);
    for tensor in lot.items.iter().flat_map(|item| &item.tensors) {
        match tensor.data() {
            Data::Bytes(strings) => {
                texts += strings.len();
                longest = strings.iter().map(String::len).fold(longest, usize::max);
            }
            _ => bytes += tensor.bytes(),
        }
    }
    bytes.saturating_add(texts * (longest + size_of::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Tensor, conform::Item};

    fn item(shape: &[usize], data: Data) -> Item {
        let tensors = vec![Tensor::new(shape.to_vec(), data).unwrap()];
        Item { tensors, rows: 1, whole: false, raw: false, length: None }
    }

    #[test]
    fn every_text_of_a_run_counts_as_the_longest_of_them() {
        let text = |text: &str| item(&[1, 1], Data::Bytes(vec![text.to_owned()]));
        let lot = |items| Lot { items, ..Lot::default() };
        let own = size_of::<String>();
        assert_eq!(size(&lot(vec![text("a"), text("long text"), text("")])), 3 * (9 + own));
        assert_eq!(size(&lot(vec![item(&[2], Data::Fp64(vec![0.0, 1.0]))])), 16);
        assert_eq!(size(&lot(Vec::new())), 0);
    }
}
