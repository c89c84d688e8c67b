//! Small graphs, each by what a small input can make of it.

use super::{proto::*, *};

fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        op_type: operator.to_owned(),
        ..NodeProto::default()
    }
}

fn of_domain(domain: &str, node: NodeProto) -> NodeProto {
    NodeProto { domain: domain.to_owned(), ..node }
}

fn with(node: NodeProto, name: &str, i: i64, ints: &[i64]) -> NodeProto {
    let attribute = AttributeProto { name: name.to_owned(), i, ints: ints.to_vec(), ..AttributeProto::default() };
    NodeProto { attribute: node.attribute.into_iter().chain([attribute]).collect(), ..node }
}

/// An input; a dimension below 0 is dynamic.
fn input(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|dim| DimensionProto { dim_value: (*dim >= 0).then_some(*dim) }).collect();
    let tensor_type = Some(TensorTypeProto { shape: Some(ShapeProto { dim }) });
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type }) }
}

fn weights(name: &str, dims: &[i64]) -> TensorProto {
    TensorProto { name: name.to_owned(), dims: dims.to_vec(), data_type: 1, ..TensorProto::default() }
}

fn integers(name: &str, values: &[i64]) -> TensorProto {
    let dims = vec![i64::try_from(values.len()).unwrap()];
    TensorProto { name: name.to_owned(), dims, data_type: 7, int64_data: values.to_vec(), ..TensorProto::default() }
}

/// What is found in a graph of these nodes, on the inputs `x [n,10]`, `v [n]`, `w [m]`, `i [n]` and `k []`.
fn found(nodes: Vec<NodeProto>) -> Option<String> {
    let inputs = [("x", &[-1, 10][..]), ("v", &[-1]), ("w", &[-1]), ("i", &[-1]), ("k", &[])];
    let graph = GraphProto {
        node: nodes,
        initializer: vec![
            weights("ten", &[10]),
            weights("matrix", &[10, 3]),
            weights("table", &[50, 8]),
            weights("wide", &[2, 100_000]),
            integers("zero", &[0]),
            integers("one", &[1]),
            integers("two", &[2]),
            integers("rows", &[-1, 1]),
            integers("line", &[1, -1]),
        ],
        input: inputs.map(|(name, dims)| input(name, dims)).into(),
    };
    of(&ModelProto { graph: Some(graph), functions: Vec::new() }, true).map(|unbounded| unbounded.to_string())
}

#[test]
fn graphs_of_bounded_work_are_known() {
    let graphs = [
        vec![node("Mul", &["x", "ten"], "y"), node("Softmax", &["y"], "z")],
        vec![node("MatMul", &["x", "matrix"], "y"), node("Sigmoid", &["y"], "z")],
        vec![node("Gemm", &["x", "matrix"], "y"), node("ReduceMax", &["y"], "z"), node("Sub", &["y", "z"], "d")],
        vec![node("Gather", &["table", "i"], "y")],
        vec![node("Slice", &["x", "zero", "two", "one"], "a"), node("Slice", &["x", "two", "zero", "one"], "b")],
        vec![
            node("Slice", &["x", "zero", "one", "one"], "a"),
            node("Slice", &["x", "one", "two", "one"], "b"),
            node("Add", &["a", "b"], "y"),
        ],
        vec![node("Reshape", &["v", "rows"], "y"), node("Mul", &["y", "ten"], "z")],
        vec![node("Add", &["v", "w"], "y")],
        vec![node("Shape", &["x"], "s"), node("Gather", &["s", "zero"], "n"), node("Reshape", &["x", "n"], "y")],
        vec![of_domain("ai.onnx.ml", node("TreeEnsembleClassifier", &["x"], "label"))],
        vec![of_domain("com.microsoft", node("Tokenizer", &["v"], "words"))],
        // What no input has a part in is as long as it was measured.
        vec![node("Range", &["zero", "two", "one"], "r"), node("Add", &["v", "r"], "y")],
    ];
    for nodes in graphs {
        let operators: Vec<_> = nodes.iter().map(|node| node.op_type.clone()).collect();
        assert_eq!(found(nodes), None, "{operators:?}");
    }
}

#[test]
fn graphs_in_which_a_small_input_is_a_lot_of_work_are_not() {
    let column = || node("Reshape", &["v", "rows"], "column");
    let line = || node("Reshape", &["v", "line"], "line_of_v");
    let unsqueezed = |axis: i64, name: &str| with(node("Unsqueeze", &["v"], name), "axes", 0, &[axis]);
    let large_rows = "can copy a large constant for each element of the input";
    let pairs = "can compute all pairs of two parts of the input";
    let value = "has an operand that depends on the input, and its cost grows with the value";
    let unknown = "is not known to cost no more than linear time";
    let part = "gives a part of a constant that is as large as a value of the input says";
    let tokens = "takes texts that are not the caller's, or takes them a second time";
    let words = |texts: &str, output: &str| of_domain("com.microsoft", node("Tokenizer", &[texts], output));
    let cases = [
        (vec![node("HannWindow", &["k"], "y")], unknown),
        (vec![node("MelWeightMatrix", &["k"], "y")], unknown),
        (vec![node("DFT", &["x", "k"], "y")], unknown),
        (vec![node("Einsum", &["v", "v", "v"], "y")], unknown),
        (vec![node("GatherND", &["table", "i"], "y")], unknown),
        (vec![node("Range", &["zero", "k", "one"], "y")], unknown),
        (vec![node("Resize", &["x", "", "k"], "y")], unknown),
        (vec![of_domain("com.example", node("Add", &["x", "ten"], "y"))], unknown),
        (vec![node("Expand", &["v", "k"], "y")], value),
        (vec![node("Tile", &["v", "k"], "y")], value),
        (vec![node("Pad", &["v", "k"], "y")], value),
        (vec![node("OneHot", &["i", "k"], "y")], value),
        (vec![node("Gather", &["wide", "i"], "y")], large_rows),
        (vec![node("Slice", &["table", "zero", "k"], "y")], part),
        (vec![node("Slice", &["table", "k", "two"], "y")], part),
        (vec![node("Add", &["k", "table"], "a"), node("Slice", &["a", "zero", "k"], "y")], value),
        (vec![node("Unsqueeze", &["table", "k"], "y")], value),
        (vec![node("Reshape", &["table", "k"], "y")], value),
        (vec![words("v", "a"), node("Reshape", &["a", "line"], "b"), words("b", "c")], tokens),
        (vec![words("v", "a"), words("w", "c")], tokens),
        (vec![of_domain("ai.onnx.ml", node("LabelEncoder", &["i"], "b")), words("b", "c")], tokens),
        (vec![node("Gather", &["x", "i"], "y")], pairs),
        (vec![column(), line(), node("MatMul", &["column", "line_of_v"], "y")], pairs),
        (vec![column(), line(), node("Add", &["column", "line_of_v"], "y")], pairs),
        (vec![unsqueezed(0, "a"), unsqueezed(1, "b"), node("Where", &["a", "b", "ten"], "y")], pairs),
        (vec![node("Reshape", &["v", "k"], "a"), node("Mul", &["a", "v"], "y")], pairs),
    ];
    for (nodes, reason) in cases {
        let operator = nodes.last().unwrap().op_type.clone();
        assert_eq!(found(nodes), Some(format!("{operator} {reason}")));
    }
}

#[test]
fn what_cannot_be_read_is_not_known_to_be_bounded() {
    let subgraph = AttributeProto { g: Some(SubgraphProto {}), ..AttributeProto::default() };
    let branch = NodeProto { attribute: vec![subgraph], ..node("If", &[], "y") };
    assert_eq!(found(vec![branch]).unwrap(), "If runs a part of the graph of its own");
    assert_eq!(found(vec![node("Abs", &["nowhere"], "y")]).unwrap(), "Abs takes a value that is not there");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let mut model = ModelProto { graph: Some(GraphProto::default()), functions: Vec::new() };
    let read = |bytes: Vec<u8>| {
        std::fs::write(&path, bytes).unwrap();
        unbounded(&path, true).unwrap().map(|unbounded| unbounded.to_string())
    };
    assert_eq!(read(model.encode_to_vec()), None);
    model.functions.push(FunctionProto {});
    assert_eq!(read(model.encode_to_vec()).unwrap(), "the graph defines functions of its own");
    assert_eq!(read(vec![0xff; 9]).unwrap(), "the graph cannot be read");
    assert!(unbounded(&folder.path().join("nothing"), true).is_err());
}

#[test]
fn only_graphs_of_known_arithmetic_are_tried_with_sizes_of_0() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let takes = |nodes: Vec<NodeProto>| {
        let graph = Some(GraphProto { node: nodes, ..GraphProto::default() });
        std::fs::write(&path, ModelProto { graph, functions: Vec::new() }.encode_to_vec()).unwrap();
        takes_nothing(&path)
    };
    let relu = || node("Relu", &["x"], "y");
    assert!(takes(vec![relu(), node("Add", &["y", "x"], "z")]));
    assert!(!takes(vec![relu(), node("Conv", &["y", "x"], "z")]));
    assert!(!takes(vec![of_domain("com.example", relu())]));
    assert!(!takes_nothing(&folder.path().join("nothing")));
}
