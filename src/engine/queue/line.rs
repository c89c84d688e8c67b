//! One line of requests, in the order of their arrival, each with its runs.

use std::{collections::BTreeMap, time::Instant};

/// Where a run stands: its request, and its number in it.
pub(super) type Place = (u64, usize);

/// Requests with runs that have not begun.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// In the order of the line.
    pub waiting: BTreeMap<Place, Waiting<T>>,
    /// Runs of each request that have not begun, whether they wait already or not.
    pub left: BTreeMap<u64, usize>,
}

/// A run that waits.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub since: Instant,
    pub item: T,
}

impl<T> Line<T> {
    /// The first run of the first request in line.
    pub(super) fn take(&mut self) -> Option<T> {
        let place = *self.waiting.first_key_value()?.0;
        self.remove(place)
    }

    /// The run at `place`, which begins.
    pub(super) fn remove(&mut self, place: Place) -> Option<T> {
        let waiting = self.waiting.remove(&place)?;
        let (number, _) = place;
        if let Some(left) = self.left.get_mut(&number) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.left.remove(&number);
            }
        }
        Some(waiting.item)
    }

    /// The runs of a request that waits no more.
    pub(super) fn remove_all(&mut self, number: u64) -> Vec<Waiting<T>> {
        self.left.remove(&number);
        let mut own = self.waiting.split_off(&(number, 0));
        let mut later = own.split_off(&(number + 1, 0));
        self.waiting.append(&mut later);
        own.into_values().collect()
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
