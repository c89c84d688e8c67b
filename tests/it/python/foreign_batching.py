"""Graphs whose rows are independent of each other, and graphs whose rows are not. No graph says which it is."""

import numpy as np
from onnx import TensorProto, helper

from onnx_files import DATATYPES, Model, constant, model, spec


def node(op, inputs, outputs=("y",), **attributes):
    return helper.make_node(op, inputs, list(outputs), **attributes)


AXES = {"i0": [0], "i1": [1], "i-1": [-1], "min": [-(2**62)], "max": [2**62], "s0": 0, "s1": 1}
INDICES = {name: constant(name, values, "INT64") for name, values in AXES.items()}


def rows(datatype, *shape):
    """Rows that differ from each other."""
    count = int(np.prod(shape))
    if datatype == "BYTES":
        return np.array([f"text {index}" for index in range(count)], object).reshape(shape)
    if datatype == "BOOL":
        return np.array([index % 3 == 0 for index in range(count)]).reshape(shape)
    dtype = DATATYPES[datatype][1]
    if np.issubdtype(dtype, np.integer):
        return (np.arange(count) * 5 % 7).astype(dtype).reshape(shape)
    return np.sin(np.arange(count) + 1).astype(dtype).reshape(shape)


def one(name, nodes, datatype, tail, batched, initializers=(), output=None, out_shape=None, **how):
    """A graph from x [n, *tail] to y; asked for one row, for another one, and for three."""
    shape = ["n", *tail]
    used = {name for each in nodes for name in each.input} & INDICES.keys()
    initializers = [*initializers, *(INDICES[name] for name in sorted(used))]
    proto = model(nodes, [spec("x", datatype, shape)], [spec("y", output or datatype, out_shape or shape)], initializers)
    made = Model(name, proto, batched, how.get("tolerance", 1e-6))
    sizes = [how.get("length", 4) if isinstance(size, str) else size for size in tail]
    three = how["rows"] if "rows" in how else rows(datatype, 3, *sizes)
    return made.item(three[:1]).item(three[1:2]).item(three)


def dependent():
    """Rows that see each other, each graph in the datatypes and shapes where that is hardest to notice."""
    for datatype, tail in (("FP32", []), ("FP32", [3]), ("FP64", [1]), ("FP16", [2, 2])):
        mean = [node("ReduceMean", ["x", "i0"], ["mean"]), node("Sub", ["x", "mean"])]
        yield one(f"less_mean_{datatype}_{len(tail)}", mean, datatype, tail, False, tolerance=1e-2)
        yield one(f"softmax_{datatype}_{len(tail)}", [node("Softmax", ["x"], axis=0)], datatype, tail, False,
                  tolerance=1e-2)
    for datatype, tail in (("INT64", []), ("INT64", [1]), ("INT32", [2]), ("FP32", []), ("FP32", ["m"])):
        yield one(f"cumulative_{datatype}_{len(tail)}", [node("CumSum", ["x", "s0"])], datatype, tail, False)
    for datatype in ("INT64", "INT8", "UINT8", "FP32"):
        top = [node("ReduceMax", ["x", "i0"], ["top"]), node("Sub", ["top", "x"])]
        yield one(f"less_largest_{datatype}", top, datatype, [], False)
    for datatype in ("INT64", "BOOL", "BYTES", "FP32"):
        reverse = [node("Slice", ["x", "i-1", "min", "i0", "i-1"])]
        yield one(f"reversed_{datatype}", reverse, datatype, [], False)
        rotate = [
            node("Slice", ["x", "i1", "max", "i0"], ["tail"]),
            node("Slice", ["x", "i0", "i1", "i0"], ["head"]),
            node("Concat", ["tail", "head"], axis=0),
        ]
        yield one(f"rotated_{datatype}", rotate, datatype, [1], False)
    sort = [node("Shape", ["x"], ["all"], start=0, end=1), node("TopK", ["x", "all"], ["y", "order"], axis=0)]
    yield one("sorted", sort, "FP32", [2], False)
    count = [
        node("Shape", ["x"], ["all"], start=0, end=1),
        node("Cast", ["all"], ["rows"], to=TensorProto.FLOAT),
        node("Mul", ["x", "rows"]),
    ]
    yield one("times_rows", count, "FP32", [2], False)
    number = [
        node("Shape", ["x"], ["all"], start=0, end=1),
        node("Squeeze", ["all"], ["rows"]),
        node("Range", ["s0", "rows", "s1"], ["numbers"]),
        node("Add", ["x", "numbers"]),
    ]
    yield one("plus_row_number", number, "INT64", [], False)
    weights = constant("w", [[[1, 0, 2], [0, 1, 1]]], "FP32")
    back = constant("r", [[[0.5, 0.25], [0, 0.5]]], "FP32")
    yield one("rnn_over_time", [node("RNN", ["x", "w", "r"], ["", "last"], hidden_size=2),
                                node("Squeeze", ["last", "i0"], ["state"]), node("Identity", ["state"])],
              "FP32", [1, 3], False, [weights, back], out_shape=[1, 2])
    yield one("rnn_every_step", [node("RNN", ["x", "w", "r"], ["all", ""], hidden_size=2),
                                 node("Squeeze", ["all", "i1"])],
              "FP32", [1, 3], False, [weights, back], out_shape=["n", 1, 2])
    quantised = [
        node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        node("DequantizeLinear", ["q", "scale", "zero"]),
    ]
    yield one("quantised_by_range", quantised, "FP32", [4], False)
    crowd = [
        node("ReduceMax", ["x", "i0"], ["top"]),
        node("Greater", ["top", "ten"], ["loud"]),
        node("Where", ["loud", "zero", "x"]),
    ]
    yield one("silent_beside_loud", crowd, "FP32", [2], False,
              [constant("ten", 10, "FP32"), constant("zero", 0, "FP32")], rows=20 * rows("FP32", 3, 2))
    decibels = [
        node("ReduceMax", ["x", "i0"], ["peak"]),
        node("Sub", ["peak", "range"], ["floor"]),
        node("Max", ["x", "floor"]),
    ]
    yield one("clipped_below_the_peak", decibels, "FP32", [2], False, [constant("range", 30, "FP32")],
              rows=np.array([[50, 45], [-3, 10], [1, 30]], np.float32))
    attention = [
        node("Transpose", ["x"], ["t"], perm=[1, 0]),
        node("MatMul", ["x", "t"], ["s"]),
        node("Softmax", ["s"], ["a"], axis=1),
        node("MatMul", ["a", "x"]),
    ]
    yield one("attention_over_rows", attention, "FP32", [3], False)


def two_batches():
    """Both inputs have a dynamic first dimension; it is not the same one."""
    inputs = [spec("a", "FP32", ["n", 2]), spec("b", "FP32", ["m", 2])]
    nodes = [node("Transpose", ["b"], ["t"], perm=[1, 0]), node("MatMul", ["a", "t"])]
    made = Model("two_batches", model(nodes, inputs, [spec("y", "FP32", ["n", "m"])]), tolerance=1e-6)
    made.item(rows("FP32", 1, 2), rows("FP32", 3, 2))
    return made.item(rows("FP32", 2, 2), rows("FP32", 1, 2))


def independent():
    """Rows that know nothing of each other: these must be recognised."""
    weights = [constant("w", np.cos(np.arange(12)).reshape(4, 3), "FP32"), constant("b", [0.1, -0.2, 0.3], "FP32")]
    layers = [node("Gemm", ["x", "w", "b"], ["h"]), node("Tanh", ["h"], ["t"]), node("Softmax", ["t"], axis=1)]
    yield one("perceptron", layers, "FP32", [4], True, weights, out_shape=["n", 3])
    kernel = constant("k", np.sin(np.arange(18)).reshape(2, 1, 3, 3), "FP32")
    image = [node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]), node("GlobalAveragePool", ["c"])]
    yield one("convolution", image, "FP32", [1, "h", "w"], True, [kernel], out_shape=["n", 2, 1, 1])
    down = [node("MaxPool", ["x"], kernel_shape=[32, 32], strides=[32, 32])]
    yield one("large_images_only", down, "FP32", [1, "h", "w"], True, out_shape=["n", 1, "h'", "w'"], length=32)
    ends = [node("Gather", ["x", "ends"], axis=1)]
    yield one("long_sounds_only", ends, "FP32", ["samples"], True, [constant("ends", [0, 500], "INT64")],
              out_shape=["n", 2], length=600)
    table = constant("table", [[0.5, 1.5], [-1, 2]], "FP32")
    embed = [node("Gather", ["table", "x"], ["e"]), node("ReduceMean", ["e", "i1"], keepdims=0)]
    yield one("embedding", embed, "INT64", ["length"], True, [table], "FP32", ["n", 2],
              rows=np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]]))
    yield one("layer_norm", [node("LayerNormalization", ["x", "g"], axis=-1)], "FP32", ["t", 3], True,
              [constant("g", [1, 2, 3], "FP32")], tolerance=1e-5)
    lstm = {"w": np.sin(np.arange(24)).reshape(1, 8, 3), "r": np.cos(np.arange(16)).reshape(1, 8, 2)}
    recurrent = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("LSTM", ["t", "w", "r"], ["", "last"], hidden_size=2),
        node("Squeeze", ["last", "i0"]),
    ]
    yield one("lstm_batch_first", recurrent, "FP32", ["time", 3], True,
              [constant(name, value, "FP32") for name, value in lstm.items()], out_shape=["n", 2])
    for datatype in ("INT64", "INT32", "FP32", "FP64"):
        yield one(f"doubled_{datatype}", [node("Add", ["x", "x"])], datatype, [], True)
    yield one("not", [node("Not", ["x"])], "BOOL", [], True)
    yield one("first_word", [node("StringSplit", ["x"], ["words", "count"], maxsplit=1),
                             node("Gather", ["words", "s0"], axis=1)], "BYTES", [], True)
    # Works for the rows of the server's try, and for no more than eight.
    narrow = [
        node("Shape", ["x"], ["all"], start=0, end=1),
        node("Sub", ["all", "i1"], ["last"]),
        node("Gather", ["zeros", "last"], ["zero"]),
        node("Add", ["x", "zero"]),
    ]
    made = one("at_most_eight_rows", narrow, "FP32", [], True, [constant("zeros", [0.0] * 8, "FP32")])
    for index in range(20):
        made.item(np.array([index], np.float32))
    yield made


def models():
    yield from dependent()
    yield two_batches()
    yield from independent()
