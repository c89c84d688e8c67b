//! Schemas of what is no plain struct: inputs, predictions, and rules between members.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// One item: a number, a string, a boolean, a (nested) list, or an object of these by input name. What fits is up to the
/// model; see its `inputs`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum Input {
    Number(f64),
    Text(String),
    Flag(bool),
    List(Vec<Value>),
    Named(BTreeMap<String, Value>),
}

/// The answer to one item: a label with its probabilities, the labels that reach a threshold, a (nested) list, or an object
/// of named outputs. NaN and infinity are `null`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum Prediction {
    Classification(Classification),
    MultiLabel(MultiLabel),
    Number(Option<f64>),
    Text(String),
    Flag(bool),
    List(Vec<Value>),
    Named(BTreeMap<String, Value>),
}

/// One label of several.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct Classification {
    /// The most probable label.
    #[schema(example = "toxic")]
    label: Option<String>,
    /// Its probability.
    #[schema(example = 0.97)]
    confidence: Option<f64>,
    /// Of every label.
    #[schema(value_type = BTreeMap<String, Option<f64>>)]
    probabilities: BTreeMap<String, Option<f64>>,
}

/// Labels that do not exclude each other.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct MultiLabel {
    /// Those that reach the threshold.
    labels: Vec<String>,
    /// Of every label.
    #[schema(value_type = BTreeMap<String, Option<f64>>)]
    probabilities: BTreeMap<String, Option<f64>>,
}

/// One text, or a list of texts.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum Texts {
    One(String),
    Several(Vec<String>),
}

/// A list of numbers, or the same as FP32, little-endian, in Base64.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

/// What a parameter is set to.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum Parameter {
    Flag(bool),
    Number(f64),
    Text(String),
}

/// The datatypes of the Open Inference Protocol.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

/// Adds what derives cannot say.
pub(super) fn complete(schemas: &mut Value, codes: &[&str]) {
    schemas["PredictBody"]["not"] = not_exactly_one("text", "input");
    schemas["BatchBody"]["not"] = not_exactly_one("texts", "inputs");
    // A value can be of several of these kinds.
    for name in ["Input", "Prediction", "ModelDescription"] {
        if let Some(schema) = schemas[name].as_object_mut()
            && let Some(kinds) = schema.remove("oneOf")
        {
            schema.insert("anyOf".to_owned(), kinds);
        }
    }
    schemas["Problem"]["properties"]["code"]["enum"] = json!(codes);
}

/// Neither both nor none of them; `null` counts as absent. As what must not be, because a choice between two forms would be
/// shown to people as two requests.
fn not_exactly_one(first: &str, second: &str) -> Value {
    let (given, absent) = (json!({"not": {"type": "null"}}), json!({"type": "null"}));
    let both = json!({"required": [first, second], "properties": {first: given, second: given}});
    let neither = json!({"properties": {first: absent, second: absent}});
    json!({"anyOf": [both, neither]})
}
