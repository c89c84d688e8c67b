//! Why an item got no prediction, and what of that is logged.

use super::{Model, postprocess::UnfitSizes, words::RunError};
use crate::error::Error;

/// Why an item got no prediction.
#[derive(Debug, Clone)]
pub enum InferError {
    /// The graph cannot take this item.
    Rejected,
    /// Everything else.
    Other(Error),
}

impl Model {
    pub(super) fn explain(&self, error: RunError) -> InferError {
        if let RunError::Rejected(cause) = error {
            tracing::warn!(model = %self.id, cause, "the graph rejected an input that fits its declaration");
            return InferError::Rejected;
        }
        InferError::Other(Error::internal(anyhow::Error::new(error).context(format!("model '{}'", self.id))))
    }

    pub(super) fn explain_unread(&self, error: anyhow::Error) -> InferError {
        if let Some(cause) = error.downcast_ref::<UnfitSizes>() {
            tracing::warn!(model = %self.id, %cause, "no answer can be made of the outputs for an input of this size");
            return InferError::Rejected;
        }
        InferError::Other(Error::internal(error.context(format!("model '{}'", self.id))))
    }
}
