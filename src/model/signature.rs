//! What a model takes and gives: names, datatypes, shapes.

use std::{fmt, sync::Arc};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::datatype::Datatype;

/// One declared dimension.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub enum Dim {
    /// Exactly this many.
    Fixed(usize),
    /// Any number; the graph may give it a name.
    Dynamic(Option<Arc<str>>),
}

impl Dim {
    /// The dimension as the Open Inference Protocol writes it: -1 when it is dynamic.
    pub fn as_i64(&self) -> i64 {
        match self {
            Self::Fixed(size) => i64::try_from(*size).unwrap_or(i64::MAX),
            Self::Dynamic(_) => -1,
        }
    }

    /// Whether a tensor may have `size` here.
    pub fn admits(&self, size: usize) -> bool {
        matches!(self, Self::Dynamic(_)) || *self == Self::Fixed(size)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Dynamic(Some(name)) => f.write_str(name),
            Self::Dynamic(None) => f.write_str("?"),
        }
    }
}

/// One declared input or output.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct TensorSpec {
    /// Its name in the graph.
    pub name: Arc<str>,
    /// The datatype of its elements.
    pub datatype: Datatype,
    /// Its dimensions. Empty for a scalar, and for an input whose rank the graph leaves open.
    pub shape: Vec<Dim>,
}

impl TensorSpec {
    /// Whether the first dimension can be the batch.
    pub fn has_dynamic_rows(&self) -> bool {
        matches!(self.shape.first(), Some(Dim::Dynamic(_)))
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}[", self.name, self.datatype)?;
        for (index, dim) in self.shape.iter().enumerate() {
            write!(f, "{}{dim}", if index == 0 { "" } else { "," })?;
        }
        f.write_str("]")
    }
}

/// Everything that a model takes and gives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Signature {
    /// In the order of the graph. All of them are needed.
    pub inputs: Vec<TensorSpec>,
    /// In the order of the graph.
    pub outputs: Vec<TensorSpec>,
}

impl Signature {
    /// Whether every input and output has a dynamic first dimension, so that rows of several callers can share one run.
    pub fn could_batch(&self) -> bool {
        !self.inputs.is_empty() && self.inputs.iter().chain(&self.outputs).all(TensorSpec::has_dynamic_rows)
    }

    /// Whether the first dimension is taken for the batch, which an item leaves out. Names are a hint: inputs whose first
    /// dimensions have different names do not share one.
    pub fn has_batch_dimension(&self) -> bool {
        let mut names = self.inputs.iter().filter_map(|spec| match spec.shape.first() {
            Some(Dim::Dynamic(name)) => name.as_deref(),
            _ => None,
        });
        let first = names.next();
        self.could_batch() && names.all(|name| Some(name) == first)
    }

    /// The same inputs with the outputs that `wanted` names, in that order; with all outputs when it names none.
    ///
    /// # Errors
    /// When there is no such output.
    pub fn select(mut self, wanted: &[String]) -> anyhow::Result<Self> {
        if wanted.is_empty() {
            return Ok(self);
        }
        let find = |name: &String| {
            let known = || self.outputs.iter().map(|spec| &*spec.name).collect::<Vec<_>>().join(", ");
            let found = self.outputs.iter().find(|spec| *spec.name == **name).cloned();
            found.with_context(|| format!("the graph has no output '{name}', only {}", known()))
        };
        self.outputs = wanted.iter().map(find).collect::<anyhow::Result<_>>()?;
        Ok(self)
    }
}
