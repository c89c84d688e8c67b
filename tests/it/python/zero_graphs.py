"""Writes a model repository to the folder that is named. Most of its graphs end their process for a dimension of 0: it is
ONNX Runtime's kernels that do. Those behind them do not: `shown` has a golden sample that says so, `hidden` has none, and
`images` and `named` are of operators that are known for it."""

import json
import pathlib
import sys

import numpy as np
import onnx
from onnx import helper

from onnx_files import constant, model, spec

folder = pathlib.Path(sys.argv[1])
node = helper.make_node


def save(name, nodes, inputs, outputs, initializers=(), golden=None):
    version = folder / name / "1"
    version.mkdir(parents=True)
    onnx.save_model(model(nodes, inputs, outputs, initializers), version / "model.onnx")
    if golden is not None:
        (version / "golden.json").write_text(json.dumps({"samples": golden}))


def weights(name, *shape):
    return constant(name, np.full(shape, 0.1), "FP32")


for operator, gates in {"GRU": 3, "LSTM": 4}.items():
    nodes = [node(operator, ["x", "w", "r"], ["y"], hidden_size=2)]
    inputs, outputs = [spec("x", "FP32", ["s", "n", 3])], [spec("y", "FP32", ["s", 1, "n", 2])]
    save(operator.lower(), nodes, inputs, outputs, [weights("w", 1, 2 * gates, 3), weights("r", 1, 2 * gates, 2)])
image, result = [spec("x", "FP32", ["n", 3, "h", "w"])], [spec("y", "FP32", ["n", "c", "h2", "w2"])]
save("conv", [node("Conv", ["x", "k"], ["y"], pads=[1, 1, 1, 1])], image, result, [weights("k", 4, 3, 3, 3)])
nodes = [node("InstanceNormalization", ["x", "s", "b"], ["y"])]
save("norm", nodes, image, result, [weights("s", 3), weights("b", 3)])
save("unique", [node("Unique", ["x"], ["y"], axis=0)], [spec("x", "FP32", ["n", "m"])], [spec("y", "FP32", ["k", "m"])])

rows = [spec("x", "FP32", ["batch", "time", 2])]
save("images", [node("Relu", ["x"], ["y"])], image, [spec("y", "FP32", ["n", 3, "h", "w"])])
relu = [node("Relu", ["x"], ["y"])]
softmax = [node("Softmax", ["x"], ["y"])]
golden = [{"input": [[1, 1]], "prediction": [[0.5, 0.5]]}, {"input": [], "prediction": []}]
save("shown", softmax, rows, [spec("y", "FP32", ["batch", "time", 2])], golden=golden)
save("hidden", softmax, rows, [spec("y", "FP32", ["batch", "time", 2])])
for name, operator in {"columns": "ReduceSum", "largest": "ReduceMax"}.items():
    nodes = [node(operator, ["x", "axes"], ["y"], keepdims=1)]
    outputs = [spec("y", "FP32", ["one", 2])]
    save(name, nodes, [spec("x", "FP32", ["rows", 2])], outputs, [constant("axes", [0], "INT64")])
save("named", relu, [spec("x", "FP32", ["batch", "features"])], [spec("y", "FP32", ["batch", "features"])])
