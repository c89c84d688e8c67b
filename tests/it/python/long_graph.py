"""Makes long.onnx, which gives as many zeros as it is told, in the file that is named."""

import sys

import onnx
from onnx import helper

from onnx_files import model, spec

node = helper.make_node("ConstantOfShape", ["n"], ["zeros"])
onnx.save_model(model([node], [spec("n", "INT64", [1])], [spec("zeros", "FP32", ["length"])]), sys.argv[1])
