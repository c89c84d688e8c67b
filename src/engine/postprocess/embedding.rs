//! From a vector per token to one vector, and to length 1.

use anyhow::Context;
use half::{bf16, f16};

use super::UnfitSizes;
use crate::model::{Data, Pooling, Tensor};

/// The least length that a vector is divided by, as PyTorch's `normalize` does it: the zero vector stays zero.
const LEAST_LENGTH: f64 = 1e-12;

/// Makes embeddings of an output `[rows, sequence, hidden]`, or of one that is pooled already.
///
/// # Errors
/// When the output has another rank, no token, or no fractions.
pub(super) fn embed(tensor: Tensor, pooling: Pooling, normalize: bool) -> anyhow::Result<Tensor> {
    let (shape, data) = tensor.into_parts();
    let (shape, tokens) = match (pooling, &shape[..]) {
        (Pooling::None, _) => (shape, 1),
        (_, [rows, tokens, hidden]) => (vec![*rows, *hidden], *tokens),
        _ => anyhow::bail!("an output of shape {shape:?} cannot be pooled: it needs [batch, sequence, hidden]"),
    };
    if tokens == 0 {
        return Err(UnfitSizes("there is no token to pool".to_owned()).into());
    }
    let width = shape.last().copied().unwrap_or(1);
    let make = Embedding { pooling, tokens, width, normalize };
    let data = match data {
        Data::Fp32(values) => Data::Fp32(make.vectors(&values, f64::from, to_fp32)),
        Data::Fp64(values) => Data::Fp64(make.vectors(&values, |value| value, |value| value)),
        Data::Fp16(values) => Data::Fp16(make.vectors(&values, f64::from, f16::from_f64)),
        Data::Bf16(values) => Data::Bf16(make.vectors(&values, f64::from, bf16::from_f64)),
        other => anyhow::bail!("embeddings cannot be {}", other.datatype()),
    };
    Tensor::new(shape, data).context("the output does not fill its shape")
}

#[expect(clippy::cast_possible_truncation, reason = "back to what it came from")]
const fn to_fp32(value: f64) -> f32 {
    value as f32
}

struct Embedding {
    pooling: Pooling,
    /// Vectors that make one.
    tokens: usize,
    /// Numbers in a vector.
    width: usize,
    normalize: bool,
}

impl Embedding {
    /// Sums are made in FP64: half floats of hundreds of tokens would lose their last bits.
    fn vectors<T: Copy>(&self, values: &[T], wide: impl Fn(T) -> f64, narrow: impl Fn(f64) -> T) -> Vec<T> {
        let mut vectors = Vec::with_capacity(values.len() / self.tokens);
        for row in values.chunks_exact((self.tokens * self.width).max(1)) {
            let mut vector: Vec<f64> = row[..self.width].iter().map(|value| wide(*value)).collect();
            if self.pooling == Pooling::Mean {
                for token in row[self.width..].chunks_exact(self.width) {
                    vector.iter_mut().zip(token).for_each(|(sum, value)| *sum += wide(*value));
                }
                #[expect(clippy::cast_precision_loss, reason = "no text has 2^52 tokens")]
                let count = self.tokens as f64;
                vector.iter_mut().for_each(|sum| *sum /= count);
            }
            if self.normalize {
                let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt().max(LEAST_LENGTH);
                vector.iter_mut().for_each(|value| *value /= length);
            }
            vectors.extend(vector.into_iter().map(&narrow));
        }
        vectors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded(shape: &[usize], values: &[f32], pooling: Pooling, normalize: bool) -> (Vec<usize>, Vec<f32>) {
        let tensor = Tensor::new(shape.to_vec(), Data::Fp32(values.to_vec())).unwrap();
        match embed(tensor, pooling, normalize).unwrap().into_parts() {
            (shape, Data::Fp32(values)) => (shape, values),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tokens_become_one_vector_per_row() {
        let values = [1.0, 2.0, 3.0, 6.0, -1.0, 0.0, 1.0, 2.0];
        let shape = [2, 2, 2];
        assert_eq!(embedded(&shape, &values, Pooling::Cls, false), (vec![2, 2], vec![1.0, 2.0, -1.0, 0.0]));
        assert_eq!(embedded(&shape, &values, Pooling::Mean, false), (vec![2, 2], vec![2.0, 4.0, 0.0, 1.0]));
        assert_eq!(embedded(&shape, &values, Pooling::None, false), (shape.to_vec(), values.to_vec()));
    }

    #[test]
    fn every_vector_gets_length_one_but_for_the_zero_vector() {
        let (_, values) = embedded(&[1, 3, 2], &[3.0, 4.0, 0.0, 0.0, 0.0, -2.0], Pooling::None, true);
        assert_eq!(values, [0.6, 0.8, 0.0, 0.0, 0.0, -1.0]);
        let large = embedded(&[1, 2], &[3e38, 4e37], Pooling::None, true).1;
        assert!(large.iter().all(|value| value.is_finite() && *value > 0.1), "{large:?}");
    }

    #[test]
    fn what_has_no_tokens_is_not_pooled() {
        for shape in [&[1, 0, 4][..], &[1, 4], &[4]] {
            let tensor = Tensor::new(shape.to_vec(), Data::Fp32(vec![0.5; shape.iter().product()])).unwrap();
            assert!(embed(tensor, Pooling::Mean, false).is_err(), "{shape:?}");
        }
    }
}
