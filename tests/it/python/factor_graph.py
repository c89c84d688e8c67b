"""Writes a graph that multiplies its input by a number. Arguments: the file, the number."""

import os
import sys

from onnx import helper

from onnx_files import constant, model, spec

path, factor = sys.argv[1:]
node = helper.make_node("Mul", ["x", "factor"], ["y"])
shape = ["n", "m"]
proto = model([node], [spec("x", "FP32", shape)], [spec("y", "FP32", shape)], [constant("factor", float(factor), "FP32")])
# As a file is replaced that others read.
with open(path + ".new", "wb") as file:
    file.write(proto.SerializeToString())
os.rename(path + ".new", path)
