"""What the scripts share: small graphs, reference answers of Python's onnxruntime, tensors as JSON."""

import math
import os

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

DATATYPES = {
    "BOOL": (TensorProto.BOOL, np.bool_),
    "UINT8": (TensorProto.UINT8, np.uint8),
    "UINT16": (TensorProto.UINT16, np.uint16),
    "UINT32": (TensorProto.UINT32, np.uint32),
    "UINT64": (TensorProto.UINT64, np.uint64),
    "INT8": (TensorProto.INT8, np.int8),
    "INT16": (TensorProto.INT16, np.int16),
    "INT32": (TensorProto.INT32, np.int32),
    "INT64": (TensorProto.INT64, np.int64),
    "FP16": (TensorProto.FLOAT16, np.float16),
    "BF16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
    "FP32": (TensorProto.FLOAT, np.float32),
    "FP64": (TensorProto.DOUBLE, np.float64),
    "BYTES": (TensorProto.STRING, object),
}

# Not the newest: what exporters write today.
OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]


def spec(name, datatype, shape):
    """An input or output; a string is the name of a dynamic dimension, None leaves the rank open."""
    return helper.make_tensor_value_info(name, DATATYPES[datatype][0], shape)


def maps(name, key):
    """An output that is a sequence of maps from `key` to FP32, as classifiers of scikit-learn have them."""
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    return helper.make_value_info(name, helper.make_sequence_type_proto(helper.make_map_type_proto(key, value)))


def constant(name, values, datatype):
    return onnx.numpy_helper.from_array(np.array(values, DATATYPES[datatype][1]), name)


def model(nodes, inputs, outputs, initializers=(), opsets=None, ir_version=10):
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), list(initializers))
    return helper.make_model(graph, opset_imports=opsets or OPSETS, ir_version=ir_version)


def to_json(value):
    """A tensor as a nested list. Every FP16, BF16 and FP32 number is also one of FP64: nothing is rounded here."""
    if isinstance(value, list):
        return [{str(key): number for key, number in row.items()} for row in value]
    array = np.asarray(value)
    if array.dtype in (np.float16, np.float32, ml_dtypes.bfloat16):
        array = array.astype(np.float64)
    return null_for_not_finite(array.tolist())


def null_for_not_finite(value):
    if isinstance(value, list):
        return [null_for_not_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Model:
    """One file, what must be told about it, and items with the answers that Python's onnxruntime gives."""

    def __init__(self, name, proto, batched=False, tolerance=0.0):
        self.name, self.proto, self.batched, self.tolerance = name, proto, batched, tolerance
        self.items = []

    def item(self, *feeds, reference=None, raw=None):
        """`feeds` are arrays in the order of the inputs; `raw` is sent in their place. A batched model is also asked
        for the first row without its batch dimension, where there is just one."""
        feeds = [np.asarray(feed) for feed in feeds]
        names = [value.name for value in self.proto.graph.input][: len(feeds)]
        outputs = reference or self.run(dict(zip(names, feeds)))
        sent = dict(zip(names, map(to_json, feeds))) if raw is None else raw
        self.add(sent, [to_json(output) for output in outputs])
        if self.batched and raw is None and all(feed.shape[0] == 1 for feed in feeds):
            first = {name: value[0] for name, value in sent.items()}
            self.add(first, [to_json(output)[0] for output in outputs])
        return self

    def add(self, sent, predictions):
        names = [value.name for value in self.proto.graph.output]
        prediction = predictions[0] if len(names) == 1 else dict(zip(names, predictions))
        self.items.append({"input": sent, "prediction": prediction})

    def run(self, feeds):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        session = ort.InferenceSession(self.proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, feeds)

    def save(self, folder, external=False):
        path = os.path.join(folder, f"{self.name}.onnx")
        if external:
            location = f"{self.name}.onnx.data"
            onnx.save_model(self.proto, path, save_as_external_data=True, location=location, size_threshold=0)
        else:
            onnx.save_model(self.proto, path)

    def document(self):
        graph = self.proto.graph
        defaults = {initializer.name for initializer in graph.initializer}
        return {
            "name": self.name,
            "inputs": [declared(value) for value in graph.input if value.name not in defaults],
            "outputs": [declared(value) for value in graph.output],
            "batched": self.batched,
            "tolerance": self.tolerance,
            "items": self.items,
        }


def declared(value):
    """As /v1/models/{model} shows it."""
    if value.type.HasField("sequence_type"):
        return {"name": value.name, "datatype": "FP32", "shape": [-1, -1]}
    tensor = value.type.tensor_type
    datatype = next(name for name, (number, _) in DATATYPES.items() if number == tensor.elem_type)
    dims = tensor.shape.dim
    shape = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims]
    return {"name": value.name, "datatype": datatype, "shape": shape}
