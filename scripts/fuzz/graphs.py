"""The repository that the fuzzed server serves: the bundled models, and small graphs of many datatypes and ranks.

A run of any of these graphs costs no more than its input does, and an input without elements is computed like any other:
a request ends the process by a fault of the server alone.
"""

import json
import shutil

import numpy as np
from onnx import TensorProto, helper, numpy_helper

# The one model that requests load and unload.
SPARE = "spare"

OPSETS = [helper.make_opsetid("", 21)]
DATATYPES = {"BOOL": TensorProto.BOOL, "UINT8": TensorProto.UINT8, "INT64": TensorProto.INT64, "FP16": TensorProto.FLOAT16,
             "BF16": TensorProto.BFLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE, "BYTES": TensorProto.STRING}
WORDS = ["[UNK]", "the", "a", "good", "film", "was", "not"]


def build(folder, bundled):
    """Writes the repository into `folder`, which must not exist."""
    shutil.copytree(bundled, folder, ignore=shutil.ignore_patterns("training"))
    for datatype in DATATYPES:
        save(folder, f"same_{datatype.lower()}", identity(datatype, ["rows", "columns"]))
    save(folder, SPARE, identity("FP32", ["rows"]))
    save(folder, "scalar", identity("FP32", []))
    save(folder, "deep", identity("FP32", ["a", 2, "b", 1]))
    save(folder, "several", several())
    save(folder, "sums", sums())
    save(folder, "edges", edges())
    manifest = 'task = "embedding"\ntext.tokenizer = "tokenizer.json"\noutput = { pooling = "mean" }\n'
    save(folder, "vectors", vectors(), manifest, {"tokenizer.json": tokenizer()})


def save(folder, name, model, manifest="", files=None):
    version = folder / name / "1"
    version.mkdir(parents=True)
    (folder / name / "model.toml").write_text(manifest)
    (version / "model.onnx").write_bytes(model.SerializeToString())
    for file, document in (files or {}).items():
        (version / file).write_text(json.dumps(document))


def spec(name, datatype, shape):
    return helper.make_tensor_value_info(name, DATATYPES[datatype], shape)


def graph(nodes, inputs, outputs, constants=None):
    constants = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    return helper.make_model(helper.make_graph(nodes, "graph", inputs, outputs, constants), opset_imports=OPSETS, ir_version=10)


def identity(datatype, shape):
    return graph([helper.make_node("Identity", ["x"], ["y"])], [spec("x", datatype, shape)], [spec("y", datatype, shape)])


def several():
    """Inputs and outputs of different datatypes, in an order that is not that of their names."""
    nodes = [helper.make_node("Add", ["b", "b"], ["twice"]), helper.make_node("Not", ["a"], ["opposite"]),
             helper.make_node("Identity", ["c"], ["words"])]
    inputs = [spec("b", "FP32", ["n", 2]), spec("a", "BOOL", ["n", 1]), spec("c", "BYTES", ["n", 1])]
    outputs = [spec("twice", "FP32", ["n", 2]), spec("opposite", "BOOL", ["n", 1]), spec("words", "BYTES", ["n", 1])]
    return graph(nodes, inputs, outputs)


def sums():
    """Two lists of one length: the graph itself refuses others."""
    inputs = [spec("a", "INT64", ["n"]), spec("b", "INT64", ["n"])]
    return graph([helper.make_node("Add", ["a", "b"], ["sum"])], inputs, [spec("sum", "INT64", ["n"])])


def edges():
    """A convolution of one size."""
    kernel = {"kernel": np.array([[[[0, 1, 0], [1, -4, 1], [0, 1, 0]]]], np.float32)}
    node = helper.make_node("Conv", ["image", "kernel"], ["edges"], pads=[1, 1, 1, 1])
    return graph([node], [spec("image", "FP32", [1, 1, 4, 4])], [spec("edges", "FP32", [1, 1, 4, 4])], kernel)


def vectors():
    """A vector for each token."""
    nodes = [helper.make_node("Gather", ["words", "input_ids"], ["found"]), helper.make_node("Cast", ["attention_mask"], ["real"], to=1),
             helper.make_node("Unsqueeze", ["real", "last"], ["wide"]), helper.make_node("Mul", ["found", "wide"], ["states"])]
    inputs = [spec("input_ids", "INT64", ["batch", "sequence"]), spec("attention_mask", "INT64", ["batch", "sequence"])]
    words = np.arange(len(WORDS) * 4, dtype=np.float32).reshape(len(WORDS), 4) / 10
    return graph(nodes, inputs, [spec("states", "FP32", ["batch", "sequence", 4])], {"words": words, "last": np.array([2])})


def tokenizer():
    model = {"type": "WordLevel", "vocab": {word: number for number, word in enumerate(WORDS)}, "unk_token": WORDS[0]}
    return {"version": "1.0", "truncation": {"direction": "Right", "max_length": 64, "strategy": "LongestFirst", "stride": 0},
            "padding": None, "added_tokens": [], "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": None, "decoder": None, "model": model}
