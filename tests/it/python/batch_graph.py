"""Writes a graph that reads the entries of a table of ten, and counts in a loop to the largest of its counts before: a run
of several rows takes as long as one of them wants. The first argument names the file.

Inputs `index` and `count`, INT64 [batch, 1]; output `entry`, FP32 [batch, 1], 0.5 * index. An index outside of the table
is rejected by the graph."""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

body = helper.make_graph(
    [helper.make_node("Identity", ["going"], ["go_on"]), helper.make_node("Add", ["sum", "one"], ["next"])],
    "body",
    [
        helper.make_tensor_value_info("turn", TensorProto.INT64, []),
        helper.make_tensor_value_info("going", TensorProto.BOOL, []),
        helper.make_tensor_value_info("sum", TensorProto.INT64, []),
    ],
    [
        helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("next", TensorProto.INT64, []),
    ],
    [helper.make_tensor("one", TensorProto.INT64, [], [1])],
)
nodes = [
    helper.make_node("ReduceMax", ["count"], ["turns"], keepdims=0),
    helper.make_node("Loop", ["turns", "", "zero"], ["counted"], body=body),
    helper.make_node("Mul", ["counted", "zero"], ["nothing"]),
    helper.make_node("Add", ["index", "nothing"], ["position"]),
    helper.make_node("Gather", ["table", "position"], ["entry"]),
]
graph = helper.make_graph(
    nodes,
    "batch",
    [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", 1]) for name in ("index", "count")],
    [helper.make_tensor_value_info("entry", TensorProto.FLOAT, ["batch", 1])],
    [
        helper.make_tensor("zero", TensorProto.INT64, [], [0]),
        numpy_helper.from_array(np.arange(10, dtype=np.float32) / 2, "table"),
    ],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
onnx.checker.check_model(model)
onnx.save(model, sys.argv[1])
