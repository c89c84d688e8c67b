//! What the writer has taken from the queue, made into rows a batch at a time.

use std::collections::VecDeque;

use super::{
    answered::Answered,
    row::{Ids, Row},
};

/// What is written next. A batch of rows is made when the one before it is written: few rows take little memory, the same
/// again and again.
#[derive(Debug)]
pub(super) struct Work {
    /// What no rows were made of yet, in the order in which it came.
    pub answered: VecDeque<Answered>,
    /// The rows of one batch.
    pub rows: Vec<Row>,
    ids: Ids,
    batch_size: usize,
    value_limit: usize,
}

impl Work {
    pub(super) fn new(batch_size: usize, value_limit: usize) -> Self {
        Self { answered: VecDeque::new(), rows: Vec::new(), ids: Ids::new(), batch_size, value_limit }
    }

    /// Makes the rows of the next batch in the place of those of the last one. The last request of it may bring more than
    /// there should be.
    pub(super) fn make_rows(mut self) -> Self {
        self.rows.clear();
        while self.rows.len() < self.batch_size
            && let Some(answered) = self.answered.pop_front()
        {
            self.rows.extend(answered.rows(&mut self.ids, self.value_limit));
        }
        self
    }
}
