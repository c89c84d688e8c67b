"""Writes a graph that names the classes of its probabilities, `no` and `yes`, as classifiers of scikit-learn do, to the
file named by the first argument."""

import sys

import onnx
from onnx import TensorProto, helper

pair = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
graph = helper.make_graph(
    [helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"])],
    "named_classes",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
    [helper.make_value_info("y", helper.make_sequence_type_proto(pair))],
)
opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), sys.argv[1])
