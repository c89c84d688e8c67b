//! One line of requests, in the order of their arrival, each with its runs.

use std::collections::BTreeMap;

/// Requests with runs that have not begun.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// By request, and by the number of the run in it.
    pub waiting: BTreeMap<(u64, usize), T>,
    /// Runs of each request that have not begun, whether they wait already or not.
    pub left: BTreeMap<u64, usize>,
}

impl<T> Line<T> {
    /// The first run of the first request in line.
    pub(super) fn take(&mut self) -> Option<T> {
        let ((number, _), item) = self.waiting.pop_first()?;
        if let Some(left) = self.left.get_mut(&number) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.left.remove(&number);
            }
        }
        Some(item)
    }

    /// Runs that have not begun.
    pub(super) fn runs(&self) -> usize {
        self.left.values().sum()
    }
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), left: BTreeMap::new() }
    }
}
