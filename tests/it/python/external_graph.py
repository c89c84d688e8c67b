"""Writes a graph whose weights lie in a file beside it, which is not there, to the file named by the first argument."""

import sys

import onnx
from onnx import TensorProto, helper

weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
weights.external_data.add(key="location", value="weights.bin")
graph = helper.make_graph(
    [helper.make_node("Add", ["x", "w"], ["y"])],
    "external",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
    [weights],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
with open(sys.argv[1], "wb") as file:
    file.write(model.SerializeToString())
