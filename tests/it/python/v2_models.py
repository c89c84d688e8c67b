"""Makes the ONNX files of v2.rs in the folder that is named: what comes in goes out, for every datatype; and several tensors."""

import pathlib
import sys

from onnx import helper

from onnx_files import DATATYPES, model, spec

folder = pathlib.Path(sys.argv[1])


def save(name, proto):
    (folder / f"{name}.onnx").write_bytes(proto.SerializeToString())


for datatype in DATATYPES:
    node = helper.make_node("Identity", ["x"], ["y"])
    shape = ["rows", "columns"]
    save(f"same_{datatype.lower()}", model([node], [spec("x", datatype, shape)], [spec("y", datatype, shape)]))

# A scalar, a fixed shape, and four dimensions.
for name, shape in {"scalar": [], "fixed": [2, 3], "deep": ["a", 2, "b", 1]}.items():
    node = helper.make_node("Identity", ["x"], ["y"])
    save(name, model([node], [spec("x", "FP32", shape)], [spec("y", "FP32", shape)]))

# Several inputs and outputs of different datatypes, in an order that is not that of their names.
nodes = [
    helper.make_node("Add", ["b", "b"], ["twice"]),
    helper.make_node("Not", ["a"], ["opposite"]),
    helper.make_node("Identity", ["c"], ["words"]),
]
inputs = [spec("b", "FP32", ["n", 2]), spec("a", "BOOL", ["n", 1]), spec("c", "BYTES", ["n", 1])]
outputs = [spec("twice", "FP32", ["n", 2]), spec("opposite", "BOOL", ["n", 1]), spec("words", "BYTES", ["n", 1])]
save("several", model(nodes, inputs, outputs))
