//! Golden samples: inputs and the answers that the training side gave. A version that answers otherwise is not served.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::{
    engine::{InferError, Model},
    error::Error,
    model::{Input, Prediction, conform::ZeroSizes},
    telemetry::record::Record,
};

/// `golden.json`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Golden {
    /// The largest difference between two numbers; of the larger one where that is above 1.
    #[serde(default = "default_tolerance")]
    tolerance: f64,
    samples: Vec<Sample>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    text: Option<String>,
    input: Option<Input>,
    prediction: Json,
}

const fn default_tolerance() -> f64 {
    1e-5
}

/// More than any sample should take; a model that hangs on one must not hang the load.
const TIME_LIMIT: Duration = Duration::from_secs(60);

impl Golden {
    /// Reads `golden.json`.
    ///
    /// # Errors
    /// In words for the person who wrote the file.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        serde_json::from_str(text).context("golden.json cannot be read")
    }

    /// How many samples there are.
    pub(super) const fn len(&self) -> usize {
        self.samples.len()
    }

    /// Predicts every sample and compares. `zeros` learns which sizes of 0 the graph has taken.
    ///
    /// # Errors
    /// The first difference: which sample, where, expected and got.
    pub(super) async fn verify(self, model: &Model, zeros: &mut ZeroSizes) -> anyhow::Result<()> {
        for (index, sample) in self.samples.into_iter().enumerate() {
            let place = |what: String| format!("golden.json: sample {index} {what}");
            let input = match (sample.text, sample.input) {
                (Some(text), None) => Input::Text(text),
                (None, Some(input)) => input,
                _ => anyhow::bail!(place("needs either 'text' or 'input'".to_owned())),
            };
            let prediction =
                predict(model, input, zeros).await.with_context(|| place("was not answered".to_owned()))?;
            let got = serde_json::to_value(&prediction)?;
            if let Some(difference) = difference(&sample.prediction, &got, self.tolerance, "/prediction") {
                anyhow::bail!(place(format!("differs: {difference}")));
            }
        }
        Ok(())
    }
}

async fn predict(model: &Model, input: Input, zeros: &mut ZeroSizes) -> anyhow::Result<Prediction> {
    let item = model.check(input, "/input").map_err(|violations| {
        let details: Vec<_> = violations.into_iter().map(|violation| violation.detail).collect();
        anyhow::anyhow!(details.join("; "))
    })?;
    zeros.show(&item.tensors);
    let prediction = Mutex::new(None);
    let tell = |_, result| *prediction.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    model.infer(vec![item], Instant::now() + TIME_LIMIT, &Record::new(), &tell).await;
    let prediction =
        prediction.into_inner().unwrap_or_else(PoisonError::into_inner).context("there is no prediction")?;
    prediction.map_err(|error| match error {
        InferError::Rejected => anyhow::anyhow!("the graph rejects its input"),
        InferError::Other(Error::Internal(source)) => anyhow::anyhow!("{source:#}"),
        InferError::Other(error) => error.into(),
    })
}

/// The first difference between two JSON documents; numbers may differ by `tolerance`.
fn difference(expected: &Json, got: &Json, tolerance: f64, pointer: &str) -> Option<String> {
    match (expected, got) {
        (Json::Number(a), Json::Number(b)) => {
            let (a, b) = (a.as_f64()?, b.as_f64()?);
            let off = (a - b).abs();
            (off > tolerance * a.abs().max(1.0)).then(|| format!("{pointer} is {b}, expected {a} (off by {off:e})"))
        }
        (Json::Array(a), Json::Array(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(index, (a, b))| difference(a, b, tolerance, &format!("{pointer}/{index}")))
        }
        (Json::Object(a), Json::Object(b)) if a.len() == b.len() => a.iter().find_map(|(key, a)| match b.get(key) {
            Some(b) => difference(a, b, tolerance, &format!("{pointer}/{key}")),
            None => Some(format!("{pointer}/{key} is missing")),
        }),
        (a, b) => (a != b).then(|| format!("{pointer} is {b}, expected {a}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_found_and_placed() {
        let cases = [
            (json!({"a": [1.0, 2.0]}), json!({"a": [1.0, 2.000_001]}), None),
            (json!([200.0]), json!([200.001]), None),
            (json!({"a": [1.0, 2.0]}), json!({"a": [1.0, 2.1]}), Some("/prediction/a/1")),
            (json!([1, 2]), json!([1]), Some("/prediction is [1]")),
            (json!({"a": 1}), json!({"b": 1}), Some("/prediction/a is missing")),
            (json!("x"), json!("y"), Some("expected \"x\"")),
            (json!(null), json!(0.5), Some("expected null")),
        ];
        for (expected, got, message) in cases {
            let found = difference(&expected, &got, 1e-5, "/prediction");
            assert_eq!(found.is_some(), message.is_some(), "{expected} {got} {found:?}");
            assert!(found.unwrap_or_default().contains(message.unwrap_or_default()));
        }
    }
}
