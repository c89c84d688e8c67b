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
# Boxes that do not overlap, each of which is compared with all that were chosen before it.
node = helper.make_node
nodes = [
    node("Squeeze", ["size"], ["count"]),
    node("Range", ["zero", "count", "one"], ["numbers"]),
    node("Cast", ["numbers"], ["low"], to=1),
    node("Add", ["low", "half"], ["high"]),
    node("Unsqueeze", ["low", "inner"], ["from"]),
    node("Unsqueeze", ["high", "inner"], ["to"]),
    node("Concat", ["from", "from", "to", "to"], ["all"], axis=1),
    node("Unsqueeze", ["all", "outer"], ["boxes"]),
    node("Unsqueeze", ["low", "both"], ["scores"]),
    node("NonMaxSuppression", ["boxes", "scores", "size", "overlap"], ["chosen"]),
    node("Shape", ["chosen"], ["y"], start=0, end=1),
]
constants = [constant("zero", 0, "INT64"), constant("one", 1, "INT64"), constant("half", 0.5, "FP32")]
constants += [constant("overlap", [0.5], "FP32"), constant("inner", [1], "INT64"), constant("outer", [0], "INT64")]
constants += [constant("both", [0, 1], "INT64")]
heavy = model(nodes, [spec("size", "INT64", [1])], [spec("y", "INT64", [1])], constants)
for name, graph in {"chain": chain, "heavy": heavy}.items():
    onnx.save_model(graph, folder / f"{name}.onnx")
