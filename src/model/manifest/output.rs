//! `[output]`: which output is read, and what is made of it.

use serde::{Deserialize, Serialize};

use super::Task;

/// `[output]`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// The output to read; not needed where there is only one, or for the task `tensor`, which reads all.
    pub name: Option<String>,
    /// What turns the numbers of a classifier into probabilities.
    pub activation: Activation,
    /// The least probability of a label that is named, where several can be; 0.5 when absent.
    pub threshold: Option<f32>,
    /// What makes one vector of one per token.
    pub pooling: Pooling,
    /// Scale embeddings to length 1.
    pub normalize: bool,
}

/// What turns the numbers of a classifier into probabilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// They are probabilities.
    #[default]
    None,
    /// They are logits of classes that exclude each other.
    Softmax,
    /// One logit for two labels: the probability of the second. A logit for each label: labels do not exclude each other,
    /// and all that reach the threshold are named.
    Sigmoid,
}

/// What makes one vector of an output `[batch, sequence, hidden]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Nothing: the graph did it, or a vector per token is wanted.
    #[default]
    None,
    /// The first token's vector.
    Cls,
    /// The mean over all tokens.
    Mean,
}

impl Activation {
    /// Whether labels do not exclude each other: each has a logit of its own.
    pub fn is_multi_label(self, logits: usize, labels: usize) -> bool {
        self == Self::Sigmoid && logits == labels
    }
}

impl Output {
    /// The least probability of a label that is named.
    pub fn least_probability(&self) -> f32 {
        self.threshold.unwrap_or(0.5)
    }

    /// Checks what can be checked without the graph.
    ///
    /// # Errors
    /// In words for the person who wrote the file.
    pub(super) fn check(&self, task: Task) -> Result<(), String> {
        if task != Task::Embedding && (self.pooling != Pooling::None || self.normalize) {
            return Err("'output.pooling' and 'output.normalize' belong to task \"embedding\"".to_owned());
        }
        match self.threshold {
            Some(_) if self.activation != Activation::Sigmoid => {
                Err("'output.threshold' belongs to activation \"sigmoid\" with a logit for each label".to_owned())
            }
            Some(threshold) if !(0.0..=1.0).contains(&threshold) => {
                Err("'output.threshold' must be from 0 to 1".to_owned())
            }
            _ => Ok(()),
        }
    }
}
