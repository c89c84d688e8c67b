//! From outputs to a prediction, as the manifest's task says.

mod embedding;

use std::sync::Arc;

use anyhow::Context;

use crate::model::{
    Activation, Classes, Data, Datatype, Dim, Manifest, MultiLabel, Pooling, Prediction, Signature, Task, TensorSpec,
    Value,
};

const NAMELESS: &str = "the manifest has no 'labels', and the graph does not name its classes";

/// Outputs whose sizes follow from those of the input, and for which the task has no answer: no fault of the model's.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UnfitSizes(String);

/// How a model's outputs are read.
#[derive(Debug)]
pub enum Postprocess {
    /// One output holds the probabilities, or what becomes probabilities.
    Classification {
        /// Empty when the graph names the classes itself.
        labels: Arc<[String]>,
        /// What turns the numbers into probabilities.
        activation: Activation,
        /// The least probability of a label that is named, where labels do not exclude each other.
        threshold: f32,
    },
    /// One output holds vectors that are not the answer yet.
    Embedding {
        /// What makes one vector of one per token.
        pooling: Pooling,
        /// Whether vectors get length 1.
        normalize: bool,
    },
    /// The only output.
    Value,
    /// Several outputs by name.
    Named(Vec<Arc<str>>),
}

impl Postprocess {
    /// The outputs that the manifest's task reads; empty for all.
    pub fn wanted_outputs(manifest: &Manifest) -> Vec<String> {
        manifest.output.name.iter().cloned().collect()
    }

    /// Chooses how to read the outputs, and checks them against the manifest.
    ///
    /// # Errors
    /// When the manifest's task does not fit the selected outputs.
    pub fn new(manifest: &Manifest, signature: &Signature) -> anyhow::Result<Self> {
        let outputs = &signature.outputs;
        let names = || outputs.iter().map(|spec| spec.name.as_ref()).collect::<Vec<_>>().join(", ");
        anyhow::ensure!(!outputs.is_empty(), "the graph has no outputs");
        if manifest.task == Task::Tensor {
            return Ok(match &outputs[..] {
                [_] => Self::Value,
                several => Self::Named(several.iter().map(|spec| Arc::clone(&spec.name)).collect()),
            });
        }
        anyhow::ensure!(outputs.len() == 1, "'output.name' must say which of {} the task reads", names());
        let TensorSpec { name, datatype, shape } = &outputs[0];
        let fractions = matches!(datatype, Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64);
        let (pooling, normalize) = (manifest.output.pooling, manifest.output.normalize);
        if pooling != Pooling::None || normalize {
            anyhow::ensure!(fractions, "output '{name}' is {datatype}, and embeddings are FP16, BF16, FP32 or FP64");
            let poolable = pooling == Pooling::None || matches!(shape.len(), 0 | 3);
            anyhow::ensure!(
                poolable,
                "'output.pooling' needs [batch, sequence, hidden], and the graph has {}",
                outputs[0]
            );
            return Ok(Self::Embedding { pooling, normalize });
        }
        if manifest.task != Task::Classification {
            return Ok(Self::Value);
        }
        anyhow::ensure!(fractions, "output '{name}' is {datatype}, and probabilities are FP16, BF16, FP32 or FP64");
        if let (Some(Dim::Fixed(classes)), labels) = (shape.last(), manifest.labels.len()) {
            anyhow::ensure!(labels > 0, NAMELESS);
            let one_logit = manifest.output.activation == Activation::Sigmoid && *classes == 1 && labels != 1;
            let needed = if one_logit { 2 } else { *classes };
            anyhow::ensure!(labels == needed, "the manifest has {labels} labels, the graph {needed} classes");
        }
        Ok(Self::Classification {
            labels: manifest.labels.clone().into(),
            activation: manifest.output.activation,
            threshold: manifest.output.least_probability(),
        })
    }

    /// Checks against the outputs of a first run what a graph with dynamic dimensions does not declare.
    ///
    /// # Errors
    /// When the manifest's labels do not fit.
    pub fn check(&self, outputs: &[Value]) -> anyhow::Result<()> {
        let (Self::Classification { labels, .. }, Some(value)) = (self, outputs.first()) else { return Ok(()) };
        let labels = labels.len();
        match value.keys.as_ref().map(|keys| keys.len()) {
            Some(classes) => anyhow::ensure!(
                labels == 0 || labels == classes,
                "the manifest has {labels} labels, the graph {classes} classes"
            ),
            None => anyhow::ensure!(labels > 0, NAMELESS),
        }
        Ok(())
    }

    /// The labels of a classifier: those of the manifest, else those that its graph gave in a first run. Empty when neither is
    /// known, and for all other tasks.
    pub fn labels<'a>(&'a self, outputs: &'a [Value]) -> &'a [String] {
        let keys = || outputs.first().and_then(|value| value.keys.as_deref()).unwrap_or_default();
        match self {
            Self::Classification { labels, .. } if labels.is_empty() => keys(),
            Self::Classification { labels, .. } => labels,
            Self::Embedding { .. } | Self::Value | Self::Named(_) => &[],
        }
    }

    /// Makes a prediction of one item's outputs. `squeeze` takes away the batch dimension that the server added.
    ///
    /// # Errors
    /// `UnfitSizes` where another input would have been answered; any other when the outputs are not what the manifest says.
    pub fn prediction(&self, values: Vec<Value>, squeeze: bool) -> anyhow::Result<Prediction> {
        let squeezed = |value: Value| match squeeze {
            true => Value { tensor: value.tensor.without_batch_dimension(), ..value },
            false => value,
        };
        match self {
            Self::Named(names) => {
                let values = values.into_iter().map(squeezed);
                Ok(Prediction::Named(names.iter().cloned().zip(values).collect()))
            }
            Self::Value => {
                let value = values.into_iter().next().context("the model gave no output")?;
                Ok(Prediction::Value(squeezed(value)))
            }
            Self::Embedding { pooling, normalize } => {
                let value = values.into_iter().next().context("the model gave no output")?;
                let tensor = embedding::embed(value.tensor, *pooling, *normalize)?;
                Ok(Prediction::Value(squeezed(Value { tensor, keys: None })))
            }
            Self::Classification { labels, activation, threshold } => {
                let value = values.into_iter().next().context("the model gave no output")?;
                let labels = if labels.is_empty() { value.keys.as_ref() } else { Some(labels) };
                let labels = Arc::clone(labels.context(NAMELESS)?);
                let numbers = floats(value.tensor.data())?;
                if let Some(row) = value.tensor.shape().last().filter(|row| **row != numbers.len()) {
                    let words = format!("the model gave {} numbers in rows of {row} for one item", numbers.len());
                    return Err(UnfitSizes(words).into());
                }
                let multi_label = activation.is_multi_label(numbers.len(), labels.len());
                let probabilities = activate(*activation, multi_label, numbers);
                let (classes, expected) = (probabilities.len(), labels.len());
                anyhow::ensure!(classes == expected, "the model gave {classes} probabilities for {expected} labels");
                let classes = Classes { labels, probabilities };
                Ok(match multi_label {
                    true => Prediction::MultiLabel(MultiLabel { classes, threshold: *threshold }),
                    false => Prediction::Classification(classes),
                })
            }
        }
    }

    /// One item's outputs by name, as the graph gives them: of what the manifest says, only pooling and scaling are done,
    /// since vectors per token of texts of different length fit into no tensor.
    ///
    /// # Errors
    /// As those of [`prediction`](Self::prediction).
    pub fn tensors(&self, mut values: Vec<Value>, signature: &Signature) -> anyhow::Result<Prediction> {
        if let Self::Embedding { pooling, normalize } = self {
            let value = values.pop().context("the model gave no output")?;
            values.push(Value { tensor: embedding::embed(value.tensor, *pooling, *normalize)?, keys: None });
        }
        let names = signature.outputs.iter().map(|spec| Arc::clone(&spec.name));
        Ok(Prediction::Named(names.zip(values).collect()))
    }
}

fn floats(data: &Data) -> anyhow::Result<Vec<f32>> {
    #[expect(clippy::cast_possible_truncation, reason = "a probability needs no more than FP32")]
    Ok(match data {
        Data::Fp32(values) => values.clone(),
        Data::Fp64(values) => values.iter().map(|value| *value as f32).collect(),
        Data::Fp16(values) => values.iter().map(|value| value.to_f32()).collect(),
        Data::Bf16(values) => values.iter().map(|value| value.to_f32()).collect(),
        other => anyhow::bail!("probabilities cannot be {}", other.datatype()),
    })
}

fn activate(activation: Activation, multi_label: bool, mut values: Vec<f32>) -> Vec<f32> {
    match activation {
        Activation::None => values,
        Activation::Sigmoid => {
            if let ([logit], false) = (&values[..], multi_label) {
                let p = 1.0 / (1.0 + (-*logit).exp());
                return vec![1.0 - p, p];
            }
            values.iter_mut().for_each(|value| *value = 1.0 / (1.0 + (-*value).exp()));
            values
        }
        Activation::Softmax => {
            // Less the largest, so that no exponential overflows.
            let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            values.iter_mut().for_each(|value| *value = (*value - largest).exp());
            let sum: f32 = values.iter().sum();
            values.iter_mut().for_each(|value| *value /= sum);
            values
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_give_probabilities() {
        let softmax = activate(Activation::Softmax, false, vec![1000.0, 1000.0]);
        assert_eq!(softmax, [0.5, 0.5]);
        assert_eq!(activate(Activation::Sigmoid, false, vec![0.0]), [0.5, 0.5]);
        assert_eq!(activate(Activation::Sigmoid, true, vec![0.0]), [0.5]);
        assert_eq!(activate(Activation::None, false, vec![0.2, 0.8]), [0.2, 0.8]);
    }
}
