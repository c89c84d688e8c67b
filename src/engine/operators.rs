//! Which operators a graph has: some can take any time for a small input, and such a graph must not hold up a thread that
//! others need.

use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use prost::Message;

/// Repeats a part of the graph, perhaps for ever.
const REPEATING: [&str; 2] = ["Loop", "Scan"];

/// The size of what these give is a value of their input, not its size.
const GROWING: [&str; 11] = [
    "CenterCropPad",
    "ConstantOfShape",
    "Expand",
    "EyeLike",
    "MaxUnpool",
    "OneHot",
    "Pad",
    "Range",
    "Resize",
    "Tile",
    "Upsample",
];

/// What keeps a run from being bounded by the size of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unbounded {
    /// The operator.
    pub operator: &'static str,
    /// Whether it may never end.
    pub endless: bool,
}

/// The first operator of the graph at `path`, subgraphs and functions included, for which a small input can be a lot of work.
///
/// # Errors
/// When the file cannot be read. What is wrong inside of it is ONNX Runtime's to say.
pub(super) fn unbounded(path: &Path) -> anyhow::Result<Option<Unbounded>> {
    let bytes = std::fs::read(path).context("the graph cannot be read")?;
    let Ok(model) = ModelProto::decode(Bytes::from(bytes)) else { return Ok(None) };
    let mut operators = Vec::new();
    let graph = model.graph.unwrap_or_default();
    collect(&graph.node, &mut operators);
    model.functions.iter().for_each(|function| collect(&function.node, &mut operators));
    let has = |name: &&&'static str| operators.iter().any(|operator| operator == *name);
    let endless = REPEATING.iter().find(has).map(|operator| Unbounded { operator, endless: true });
    Ok(endless.or_else(|| GROWING.iter().find(has).map(|operator| Unbounded { operator, endless: false })))
}

fn collect(nodes: &[NodeProto], operators: &mut Vec<String>) {
    for node in nodes {
        operators.push(node.op_type.clone());
        let graphs = node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
        graphs.for_each(|graph| collect(&graph.node, operators));
    }
}

#[derive(Message)]
struct ModelProto {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<FunctionProto>,
}

#[derive(Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
}

#[derive(Message)]
struct FunctionProto {
    #[prost(message, repeated, tag = "7")]
    node: Vec<NodeProto>,
}

#[derive(Message)]
struct NodeProto {
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Message)]
struct AttributeProto {
    #[prost(message, optional, tag = "6")]
    g: Option<GraphProto>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<GraphProto>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(op_type: &str, body: Option<NodeProto>) -> NodeProto {
        let g = body.map(|node| GraphProto { node: vec![node] });
        NodeProto { op_type: op_type.to_owned(), attribute: vec![AttributeProto { g, graphs: Vec::new() }] }
    }

    #[test]
    fn operators_are_found_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let found = |node: NodeProto, function: NodeProto| {
            let graph = Some(GraphProto { node: vec![node] });
            let model = ModelProto { graph, functions: vec![FunctionProto { node: vec![function] }] };
            std::fs::write(&path, model.encode_to_vec()).unwrap();
            unbounded(&path).unwrap()
        };
        let plain = || node("Add", None);
        assert_eq!(found(plain(), plain()), None);
        let endless = Some(Unbounded { operator: "Loop", endless: true });
        assert_eq!(found(node("If", Some(node("Loop", None))), node("Range", None)), endless);
        let growing = Some(Unbounded { operator: "Range", endless: false });
        assert_eq!(found(plain(), node("Range", None)), growing);
    }
}
