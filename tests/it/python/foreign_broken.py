"""Writes a model repository of which almost nothing can be served into the folder that is named.

The output is JSON: for each broken model, words that the reason must hold.
"""

import json
import os
import sys

import onnx
from onnx import TensorProto, helper

from onnx_files import OPSETS, constant, model, spec

X, Y = spec("x", "FP32", ["n"]), spec("y", "FP32", ["n"])
NEG = [helper.make_node("Neg", ["x"], ["y"])]
TENSOR = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"])
SEQUENCE = helper.make_sequence_type_proto(TENSOR)
OPTIONAL = helper.make_optional_type_proto(TENSOR)


def one(op, x=X, y=Y, **attributes):
    return model([helper.make_node(op, ["x"], ["y"], **attributes)], [x], [y])


def typed(element):
    x, y = (helper.make_tensor_value_info(name, element, ["n"]) for name in "xy")
    return one("Identity", x, y)


def graphs():
    """Valid protobuf that cannot be served, and why."""
    other = [*OPSETS, helper.make_opsetid("com.example", 1)]
    custom = helper.make_node("Frobnicate", ["x"], ["y"], domain="com.example")
    return {
        "unknown_operator": (one("Frobnicate"), "Frobnicate"),
        "unknown_domain": (model([custom], [X], [Y], opsets=other), "com.example:Frobnicate"),
        "opset_too_new": (model(NEG, [X], [Y], opsets=[helper.make_opsetid("", 99)]), "till opset 26"),
        "ir_too_new": (model(NEG, [X], [Y], ir_version=99), "max supported IR version: 13"),
        "sequence_input": (one("SequenceLength", helper.make_value_info("x", SEQUENCE), spec("y", "INT64", [])), "'x'"),
        "sequence_output": (one("SequenceConstruct", y=helper.make_value_info("y", SEQUENCE)), "'y'"),
        "optional_input": (one("OptionalGetElement", helper.make_value_info("x", OPTIONAL)), "'x'"),
        "float8": (typed(TensorProto.FLOAT8E4M3FN), "'x'"),
        "complex": (typed(TensorProto.COMPLEX64), "complex64"),
        "string_where_a_number_belongs": (one("Neg", spec("x", "BYTES", ["n"]), spec("y", "BYTES", ["n"])), "string"),
        "input_from_nowhere": (model([helper.make_node("Neg", ["nowhere"], ["y"])], [X], [Y]), "nowhere"),
        "no_outputs": (model(NEG, [X], []), "no outputs"),
    }


def files():
    """What else has been found under the name of a model, and why it is none."""
    whole = model(NEG, [X], [Y]).SerializeToString()
    return {
        "empty": (b"", "empty"),
        "text": (b"this is no model\n", "no ONNX graph"),
        "git_lfs_pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "no ONNX graph"),
        "web_page": (b"<!DOCTYPE html><title>Not found</title>", "no ONNX graph"),
        "zip_archive": (b"PK\x03\x04" + bytes(100), "no ONNX graph"),
        "zeros": (bytes(1000), "no ONNX graph"),
        "truncated": (whole[: len(whole) // 2], "no ONNX graph"),
    }


def external(folder, name, spoil):
    """A graph whose weights lie in a file of their own, spoilt."""
    weights = constant("w", [0.5] * 5000, "FP32")
    inputs, outputs = [spec("x", "FP32", ["n", 5000])], [spec("y", "FP32", ["n", 5000])]
    proto = model([helper.make_node("Mul", ["x", "w"], ["y"])], inputs, outputs, [weights])
    path = place(folder, name)
    onnx.save_model(proto, path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    spoil(path)


def truncate(path):
    os.truncate(path + ".data", 100)


def escape(path):
    proto = onnx.load(path, load_external_data=False)
    location = next(entry for entry in proto.graph.initializer[0].external_data if entry.key == "location")
    location.value = "../../weights_too_short/1/model.onnx.data"
    onnx.save_model(proto, path)


def place(folder, name):
    os.makedirs(os.path.join(folder, name, "1"))
    return os.path.join(folder, name, "1", "model.onnx")


def main(folder):
    words = {}
    for name, (proto, reason) in graphs().items():
        onnx.save_model(proto, place(folder, name))
        words[name] = reason
    for name, (content, reason) in files().items():
        with open(place(folder, name), "wb") as file:
            file.write(content)
        words[name] = reason
    external(folder, "weights_missing", lambda path: os.remove(path + ".data"))
    external(folder, "weights_too_short", truncate)
    external(folder, "weights_elsewhere", escape)
    words |= {"weights_missing": "model.onnx.data", "weights_too_short": "out of bounds", "weights_elsewhere": "escapes"}
    onnx.save_model(model(NEG, [X], [Y]), place(folder, "good"))
    json.dump(words, sys.stdout)


main(sys.argv[1])
