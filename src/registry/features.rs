//! Reads out of a version's figures what the numbers of its inputs were where it was trained: `features` in `metrics.json`,
//! by input a list of `name`, `mean`, `std`, `min`, `max` and `missing`, in the order of a row's elements.

use std::collections::HashSet;

use anyhow::Context;
use half::{bf16, f16};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    model::{Datatype, Signature, TensorSpec},
    telemetry::metrics::{Feature, MOST_FEATURES},
};

/// A name is a label of metrics.
const LONGEST_NAME: usize = 100;

/// A feature as it stands in the file.
#[derive(Debug, Deserialize)]
struct Figures {
    name: String,
    mean: f64,
    std: f64,
    min: f64,
    max: f64,
    #[serde(default)]
    missing: f64,
}

/// The first features, by the place of their input; none where the file tells of none.
///
/// # Errors
/// Why they do not fit the version.
pub(super) fn read(figures: &Value, signature: &Signature) -> anyhow::Result<Vec<(usize, Vec<Feature>)>> {
    let Some(features) = figures.get("features") else { return Ok(Vec::new()) };
    let mut features = features.as_object().context("'features' is no object of inputs")?.clone();
    let mut known = Vec::new();
    for (place, spec) in signature.inputs.iter().enumerate() {
        let Some(columns) = features.remove(&*spec.name) else { continue };
        let columns = columns.as_array().with_context(|| format!("'features.{}' is no list", spec.name))?;
        anyhow::ensure!(is_number(spec.datatype), "'{}' is {}, no number", spec.name, spec.datatype);
        let column = |column: &Value| feature(column, spec);
        known.push((place, columns.iter().take(MOST_FEATURES).map(column).collect::<anyhow::Result<_>>()?));
    }
    let stranger = features.keys().next();
    anyhow::ensure!(stranger.is_none(), "there is no input '{}'", stranger.map_or("", String::as_str));
    let mut names = HashSet::new();
    let twice = known.iter().flat_map(|(_, features)| features).find(|feature: &&Feature| !names.insert(&feature.name));
    anyhow::ensure!(twice.is_none(), "two features have the name '{}'", twice.map_or("", |feature| &*feature.name));
    Ok(known)
}

fn feature(column: &Value, spec: &TensorSpec) -> anyhow::Result<Feature> {
    let Figures { name, mean, std, min, max, missing } =
        Figures::deserialize(column).with_context(|| format!("a feature of '{}'", spec.name))?;
    anyhow::ensure!(!name.is_empty() && name.len() <= LONGEST_NAME, "a feature's name has 1 to {LONGEST_NAME} bytes");
    let fit = min <= max && std >= 0.0 && (0.0..=1.0).contains(&missing);
    anyhow::ensure!(fit, "the figures of '{name}' contradict each other");
    let as_sent = |bound| rounded(bound, spec.datatype);
    Ok(Feature { name, mean, deviation: std, least: as_sent(min), greatest: as_sent(max), missing })
}

const fn is_number(datatype: Datatype) -> bool {
    !matches!(datatype, Datatype::Bool | Datatype::Bytes)
}

/// A bound as a tensor would hold it: in FP32, the largest number that was seen can be larger than it was in FP64.
#[expect(clippy::cast_possible_truncation, reason = "that is what is wanted")]
fn rounded(bound: f64, datatype: Datatype) -> f64 {
    match datatype {
        Datatype::Fp16 => f16::from_f64(bound).into(),
        Datatype::Bf16 => bf16::from_f64(bound).into(),
        Datatype::Fp32 => (bound as f32).into(),
        _ => bound,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Dim;

    fn signature() -> Signature {
        let input = |name: &str, datatype| TensorSpec { name: name.into(), datatype, shape: vec![Dim::Dynamic(None)] };
        Signature { inputs: vec![input("text", Datatype::Bytes), input("x", Datatype::Fp32)], outputs: Vec::new() }
    }

    fn column(name: &str) -> Value {
        json!({"name": name, "mean": 0.0, "std": 1.0, "min": -0.1, "max": 0.1})
    }

    #[test]
    fn features_are_those_of_their_input_and_bounds_are_what_a_tensor_holds() {
        let known = read(&json!({"features": {"x": [column("a"), column("b")]}}), &signature()).unwrap();
        assert_eq!((known.len(), known[0].0, &*known[0].1[1].name), (1, 1, "b"));
        assert_eq!((known[0].1[0].least, known[0].1[0].greatest), (f64::from(-0.1_f32), f64::from(0.1_f32)));
        assert_eq!(read(&json!({"rows": 3}), &signature()).unwrap(), []);
        let many: Vec<Value> = (0..10_000).map(|number| column(&number.to_string())).collect();
        assert_eq!(read(&json!({"features": {"x": many}}), &signature()).unwrap()[0].1.len(), MOST_FEATURES);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (features, expected) in [
            (json!([column("a")]), "no object"),
            (json!({"x": column("a")}), "no list"),
            (json!({"y": [column("a")]}), "no input 'y'"),
            (json!({"text": [column("a")]}), "BYTES"),
            (json!({"x": [column("a"), column("a")]}), "two features"),
            (json!({"x": [column("")]}), "name"),
            (json!({"x": [column(&"a".repeat(101))]}), "name"),
            (json!({"x": [{"name": "a", "mean": 0, "std": 1, "min": 2, "max": 1}]}), "contradict"),
            (json!({"x": [{"name": "a", "mean": 0, "min": 2, "max": 1}]}), "a feature of 'x'"),
        ] {
            let error = read(&json!({"features": features}), &signature()).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{features}: {error:#}");
        }
    }
}
