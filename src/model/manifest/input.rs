//! `[input]`: what may stand in a model's inputs, beyond what their datatypes say.

use serde::{Deserialize, Serialize};

/// `[input]`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputRules {
    /// What becomes of `null` among floats.
    pub missing: Missing,
}

/// What becomes of `null` where a float is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// It is refused.
    #[default]
    Refused,
    /// The graph gets NaN, which trees and imputers take for a value that is missing.
    Nan,
}
