"""Writes graphs to the folder that is named: `chain`, which takes long to be loaded, and `heavy`, whose run is one operator
that takes as long as its input wants, and that nothing can end."""

import pathlib
import sys

import onnx
from onnx import helper

from onnx_files import constant, model, spec

# Loading is quadratic in some of ONNX Runtime's passes over a graph.
NODES = 20_000

folder = pathlib.Path(sys.argv[1])
names = ["x", *(f"v{number}" for number in range(NODES - 1)), "y"]
nodes = [helper.make_node("Sin", [one], [other]) for one, other in zip(names, names[1:])]
chain = model(nodes, [spec("x", "FP32", ["n", 2])], [spec("y", "FP32", ["n", 2])])
nodes = [
    helper.make_node("Concat", ["size", "size"], ["shape"], axis=0),
    helper.make_node("Expand", ["one", "shape"], ["square"]),
    helper.make_node("MatMul", ["square", "square"], ["product"]),
    helper.make_node("ReduceMax", ["product"], ["y"], keepdims=0),
]
heavy = model(nodes, [spec("size", "INT64", [1])], [spec("y", "FP32", [])], [constant("one", [1], "FP32")])
for name, graph in {"chain": chain, "heavy": heavy}.items():
    onnx.save_model(graph, folder / f"{name}.onnx")
