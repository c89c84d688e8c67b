"""Writes a graph that counts to its input in a loop, to the file named by the first argument: a run takes as long as
the caller wants. With a second argument, it counts as far as it can, whatever the input: no run ends by itself."""

import sys

import onnx
from onnx import TensorProto, helper

body = helper.make_graph(
    [helper.make_node("Identity", ["going"], ["go_on"]), helper.make_node("Add", ["count", "one"], ["next"])],
    "body",
    [
        helper.make_tensor_value_info("turn", TensorProto.INT64, []),
        helper.make_tensor_value_info("going", TensorProto.BOOL, []),
        helper.make_tensor_value_info("count", TensorProto.INT64, []),
    ],
    [
        helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("next", TensorProto.INT64, []),
    ],
    [helper.make_tensor("one", TensorProto.INT64, [], [1])],
)
endless = len(sys.argv) > 2
zero = helper.make_tensor("zero", TensorProto.INT64, [], [0])
turns = helper.make_tensor("turns", TensorProto.INT64, [], [2**62])
graph = helper.make_graph(
    [helper.make_node("Loop", ["turns", "", "zero"], ["counted"], body=body)],
    "loop",
    [helper.make_tensor_value_info("ignored" if endless else "turns", TensorProto.INT64, [])],
    [helper.make_tensor_value_info("counted", TensorProto.INT64, [])],
    [zero, turns] if endless else [zero],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
onnx.checker.check_model(model)
onnx.save(model, sys.argv[1])
