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
    together::{Outputs, together},
};
use crate::{
    model::Tensor,
    telemetry::{labels::Release, metrics::ModelMetrics},
};

/// What is run without a thread of its own.
#[derive(Debug)]
pub(super) struct Inline {
    sessions: Arc<Sessions>,
    sharing: Sharing,
    /// Larger inputs could take longer than a request's thread may be held up.
    most_bytes: usize,
}

/// How much input may be run inline, whatever was tried before.
const SMALL: usize = 4096;

impl Inline {
    /// `tried` is the size in bytes of an input that was measured.
    pub(super) fn new(sessions: Arc<Sessions>, sharing: Sharing, tried: usize) -> Self {
        Self { sessions, sharing, most_bytes: SMALL.max(2 * tried) }
    }

    /// Whether all of it is little enough.
    pub(super) fn takes<'a>(&self, lots: impl Iterator<Item = &'a Lot>) -> bool {
        let tensors = lots.flat_map(|lot| &lot.items).flat_map(|item| &item.tensors);
        tensors.map(Tensor::bytes).sum::<usize>() <= self.most_bytes
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
