"""Writes a graph that divides: x FP32[batch,2] to y FP32[batch,1], the first element by the second. argv: its path."""

import sys

import onnx
from onnx import TensorProto, helper

nodes = [
    helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2),
    helper.make_node("Div", ["a", "b"], ["y"]),
]
graph = helper.make_graph(
    nodes,
    "ratio",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
onnx.checker.check_model(model)
onnx.save(model, sys.argv[1])
