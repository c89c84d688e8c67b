"""Writes graphs to the folder that is named: in `costly` those for which a small input can be a lot of work, in `plain` those
whose work is bounded by the size of their input."""

import pathlib
import sys

import onnx
from onnx import helper

from onnx_files import constant, model, spec

folder = pathlib.Path(sys.argv[1])
node = helper.make_node


def save(kind, name, nodes, inputs, outputs, initializers=()):
    path = folder / kind / f"{name}.onnx"
    path.parent.mkdir(exist_ok=True)
    onnx.save_model(model(nodes, inputs, outputs, initializers), path)


scalar = [spec("k", "INT64", [])]
numbers = [spec("x", "FP32", ["n"])]
for operator in ["HannWindow", "HammingWindow", "BlackmanWindow"]:
    save("costly", operator.lower(), [node(operator, ["k"], ["y"])], scalar, [spec("y", "FP32", ["m"])])
mel = [constant("dft", 16, "INT64"), constant("rate", 16000, "INT64"), constant("low", 0, "FP32"), constant("high", 8000, "FP32")]
nodes = [node("MelWeightMatrix", ["k", "dft", "rate", "low", "high"], ["y"])]
save("costly", "melweightmatrix", nodes, scalar, [spec("y", "FP32", ["a", "b"])], mel)
nodes = [node("DFT", ["x", "k", "axis"], ["y"])]
signal = [spec("x", "FP32", [1, "n", 1]), spec("k", "INT64", [])]
save("costly", "dft", nodes, signal, [spec("y", "FP32", [1, "m", 2])], [constant("axis", 1, "INT64")])
nodes = [node("Einsum", ["x", "x", "x"], ["t"], equation="a,b,c->abc"), node("ReduceMax", ["t"], ["y"], keepdims=0)]
save("costly", "einsum", nodes, numbers, [spec("y", "FP32", [])])
axes = [constant("first", [0], "INT64"), constant("second", [1], "INT64")]
pair = [node("Unsqueeze", ["x", "first"], ["row"]), node("Unsqueeze", ["x", "second"], ["column"])]
for name, operator in {"matmul": node("MatMul", ["column", "row"], ["t"]), "add": node("Add", ["column", "row"], ["t"])}.items():
    nodes = [*pair, operator, node("ReduceMax", ["t"], ["y"], keepdims=0)]
    save("costly", name, nodes, numbers, [spec("y", "FP32", [])], axes)
table = [constant("table", [[0.0] * 100_000] * 2, "FP32")]
indices = [spec("i", "INT64", ["n"])]
save("costly", "gather", [node("Gather", ["table", "i"], ["y"])], indices, [spec("y", "FP32", ["n", 100_000])], table)
data = [spec("x", "FP32", ["n", "m"]), spec("i", "INT64", ["k", 1])]
save("costly", "gathernd", [node("GatherND", ["x", "i"], ["y"])], data, [spec("y", "FP32", ["k", "m"])])

table = [constant("table", [[0.5] * 8] * 4, "FP32")]
save("plain", "embedding", [node("Gather", ["table", "i"], ["y"])], indices, [spec("y", "FP32", ["n", 8])], table)
rows = [spec("x", "FP32", ["n", 4])]
weights = [constant("w", [[0.25] * 3] * 4, "FP32"), constant("b", [1, 2, 3], "FP32")]
nodes = [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["a"]), node("Softmax", ["a"], ["y"], axis=-1)]
save("plain", "perceptron", nodes, rows, [spec("y", "FP32", ["n", 3])], weights)

# Linear, and each row costs as much as a large constant.
nodes = [node("MatMul", ["x", "w"], ["m"]), node("ReduceMax", ["m", "last"], ["y"], keepdims=1)]
weights = [constant("w", [[0.5] * 50_000], "FP32"), constant("last", [1], "INT64")]
save("wide", "wide", nodes, [spec("x", "FP32", ["n", 1])], [spec("y", "FP32", ["n", 1])], weights)
