//! Who is told what came out of a run.

use std::time::{Duration, Instant};

use super::{InferError, Model, together::Outputs};
use crate::{error::Error, model::Prediction};

/// Learns of each item's prediction, or why there is none.
pub type Tell<'a> = &'a (dyn Fn(usize, Result<Prediction, InferError>) + Sync);

/// What is made of an item's outputs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum AnswerForm {
    /// What the task says, with the batch dimension that the caller wrote.
    #[default]
    Rows,
    /// The same without it: the caller left it out.
    OneRow,
    /// The outputs themselves.
    Raw,
}

/// Who is told, and what has to be known for it.
pub(super) struct Told<'a> {
    pub model: &'a Model,
    /// What each item's caller wants.
    pub forms: Vec<AnswerForm>,
    pub tell: Tell<'a>,
}

impl Told<'_> {
    /// Tells what came out for the items at `positions`; returns how long it took to make predictions of it.
    pub(super) fn outputs(&self, positions: &[usize], outputs: Vec<Outputs>) -> Duration {
        let started = Instant::now();
        for (position, outputs) in positions.iter().zip(outputs) {
            let form = self.forms.get(*position).copied().unwrap_or_default();
            (self.tell)(*position, self.model.prediction(outputs, form));
        }
        started.elapsed()
    }

    pub(super) fn refused(&self, positions: &[usize], error: &Error) {
        positions.iter().for_each(|position| (self.tell)(*position, Err(InferError::Other(error.clone()))));
    }

    pub(super) fn all(&self, error: &Error) {
        self.refused(&(0..self.forms.len()).collect::<Vec<_>>(), error);
    }
}
