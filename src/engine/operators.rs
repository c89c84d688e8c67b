//! Whether the work of a graph is bounded by the size of its input: only then may a run hold up a thread that others need.
//!
//! The answer is yes for graphs of operators that are known to cost no more than linear time and memory ([`list`]), used in
//! ways that keep it so ([`linear`]). Everything else is a no, also what is not known at all.

mod linear;
mod list;
mod operands;
mod proto;
mod shapes;

#[cfg(test)]
mod tests;

use std::{fmt, path::Path};

use anyhow::Context;
use bytes::Bytes;
use prost::Message;

use self::{
    linear::Linear,
    proto::{ModelProto, NodeProto},
};
use super::weights::MAX_GRAPH;
use crate::files;

/// Longer names are cut: they come from a file.
const MAX_NAME: usize = 64;

/// A graph of arithmetic alone is small.
const MAX_SIMPLE_GRAPH: u64 = 1024 * 1024;

/// What keeps a run from being bounded by the size of its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unbounded {
    /// The operator; `None` where the graph as a whole is the reason.
    operator: Option<String>,
    reason: &'static str,
}

impl Unbounded {
    fn graph(reason: &'static str) -> Self {
        Self { operator: None, reason }
    }

    pub(super) fn operator(name: &str, reason: &'static str) -> Self {
        let name = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
        Self { operator: Some(name), reason }
    }
}

impl fmt::Display for Unbounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.operator {
            Some(operator) => write!(f, "{operator} {}", self.reason),
            None => write!(f, "the graph {}", self.reason),
        }
    }
}

/// The first thing in the graph at `path` for which a small input can be a lot of work. `same_rows` says that the first
/// dimensions of all inputs are equal.
///
/// # Errors
/// When the file cannot be read. What is wrong inside of it is ONNX Runtime's to say.
pub(super) fn unbounded(path: &Path, same_rows: bool) -> anyhow::Result<Option<Unbounded>> {
    let bytes = files::read(path, MAX_GRAPH).context("the graph cannot be read")?;
    let Ok(model) = ModelProto::decode(Bytes::from(bytes)) else {
        return Ok(Some(Unbounded::graph("cannot be read")));
    };
    Ok(of(&model, same_rows))
}

/// Whether the graph at `path` can be tried with dimensions of 0. A larger file is one of other operators, and is not read for
/// this.
pub(super) fn takes_nothing(path: &Path) -> bool {
    let Ok(bytes) = files::read(path, MAX_SIMPLE_GRAPH) else { return false };
    let Ok(ModelProto { graph: Some(graph), functions }) = ModelProto::decode(Bytes::from(bytes)) else { return false };
    let is_known = |node: &NodeProto| list::takes_nothing(&node.domain, &node.op_type) && !node.has_subgraph();
    functions.is_empty() && graph.node.iter().all(is_known)
}

fn of(model: &ModelProto, same_rows: bool) -> Option<Unbounded> {
    let Some(graph) = &model.graph else { return Some(Unbounded::graph("cannot be read")) };
    if !model.functions.is_empty() {
        return Some(Unbounded::graph("defines functions of its own"));
    }
    let mut linear = Linear::new(graph, same_rows);
    graph.node.iter().find_map(|node| linear.take(node).err())
}
