"""Inputs and outputs in all the forms that graphs have them."""

import numpy as np
from onnx import TensorProto, helper

from onnx_files import Model, constant, maps, model, spec


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def floats(*shape):
    """Different numbers on both sides of zero."""
    return np.sin(np.arange(np.prod(shape), dtype=np.float32) + 1).reshape(shape)


def several():
    """Three inputs of different datatypes, four outputs."""
    inputs = [spec("numbers", "FP32", ["n", 3]), spec("flags", "BOOL", ["n"]), spec("words", "BYTES", ["n", "m"])]
    outputs = [spec("doubled", "FP32", ["n", 3]), spec("sum", "FP32", ["n"])]
    outputs += [spec("not", "BOOL", ["n"]), spec("same words", "BYTES", ["n", "m"])]
    nodes = [
        node("Add", ["numbers", "numbers"], ["doubled"]),
        node("ReduceSum", ["numbers", "axes"], ["sum"], keepdims=0),
        node("Not", ["flags"], ["not"]),
        node("Identity", ["words"], ["same words"]),
    ]
    made = Model("several", model(nodes, inputs, outputs, [constant("axes", [1], "INT64")]), batched=True)
    words = np.array([["a", "ß"], ["", "👍"]], object)
    made.item(floats(2, 3), np.array([True, False]), words)
    return made.item(floats(1, 3), np.array([False]), words[:1])


def default():
    """An input that is also an initializer: callers leave it out."""
    inputs = [spec("x", "FP32", ["n", 2]), spec("scale", "FP32", [1])]
    proto = model([node("Mul", ["x", "scale"], ["y"])], inputs, [spec("y", "FP32", ["n", 2])])
    proto.graph.initializer.append(constant("scale", [2.5], "FP32"))
    return Model("default", proto, batched=True).item(floats(1, 2)).item(floats(3, 2))


def oldest():
    """IR 3 lists every initializer among the inputs."""
    inputs = [spec("x", "FP32", ["n", 2]), spec("w", "FP32", [2, 2])]
    weights = [constant("w", [[1, 2], [3, 4]], "FP32")]
    opsets = [helper.make_opsetid("", 7)]
    proto = model([node("MatMul", ["x", "w"], ["y"])], inputs, [spec("y", "FP32", ["n", 2])], weights, opsets, 3)
    return Model("oldest", proto, batched=True).item(floats(1, 2)).item(floats(3, 2))


def newest():
    """The newest opset and IR that the pinned library reads."""
    proto = model(
        [node("Gelu", ["x"], ["y"])],
        [spec("x", "FP32", ["n", 2])],
        [spec("y", "FP32", ["n", 2])],
        opsets=[helper.make_opsetid("", 26)],
        ir_version=13,
    )
    return Model("newest", proto, batched=True, tolerance=1e-6).item(floats(1, 2)).item(floats(3, 2))


def no_inputs():
    proto = model([node("Identity", ["c"], ["y"])], [], [spec("y", "INT64", [2])], [constant("c", [7, 8], "INT64")])
    return Model("no_inputs", proto).item(raw={})


def any_rank():
    proto = model([node("Neg", ["x"], ["y"])], [spec("x", "FP32", None)], [spec("y", "FP32", None)])
    made = Model("any_rank", proto)
    return made.item(np.float32(3)).item(floats(2)).item(floats(2, 3))


def empty():
    """No elements at all: lists end where the first empty dimension is."""
    proto = model([node("Identity", ["x"], ["y"])], [spec("x", "FP32", ["n", "m", 2])], [spec("y", "FP32", None)])
    proto.graph.output[0].CopyFrom(spec("y", "FP32", ["n", "m", 2]))
    made = Model("empty", proto, batched=True).item(floats(1, 0, 2)).item(floats(2, 0, 2)).item(floats(1, 1, 2))
    inputs = [spec("x", "INT64", [2, 0, 3]), spec("k", "INT64", [])]
    fixed = model([node("Add", ["x", "k"], ["y"])], inputs, [spec("y", "INT64", [2, 0, 3])])
    none = model([node("Identity", ["x"], ["y"])], [spec("x", "BYTES", [0, 3])], [spec("y", "BYTES", [0, 3])])
    inputs, outputs = [spec("x", "FP32", ["n", "m"])], [spec("y", "FP32", ["n"])]
    total = model([node("ReduceSum", ["x", "a"], ["y"], keepdims=0)], inputs, outputs, [constant("a", [1], "INT64")])
    yield made
    yield Model("empty_fixed", fixed).item(np.zeros((2, 0, 3), np.int64), np.array(4))
    yield Model("empty_outside", none).item(np.zeros((0, 3), object))
    yield Model("empty_sum", total, batched=True).item(floats(1, 0)).item(floats(1, 3))


def wrongly_declared():
    """The graph gives other shapes than it declares, which ONNX Runtime allows and warns about."""
    proto = model([node("Neg", ["x"], ["y"])], [spec("x", "FP32", ["n"])], [spec("y", "FP32", [1])])
    return Model("wrongly_declared", proto).item(floats(1)).item(floats(3))


def odd_names():
    """Names are the exporter's business: scopes, ports, spaces, any script, and what JSON and shells must quote."""
    names = ["serving_default_x:0", "a/b~c.d", "größe", "{\"1\": \"one\"}", "it's", " ", "x" * 300]
    inputs = [spec(name, "FP32", ["n"]) for name in names]
    outputs = [spec(f"{name}/out:0", "FP32", ["n"]) for name in names]
    proto = model([node("Neg", [name], [f"{name}/out:0"]) for name in names], inputs, outputs)
    return Model("odd_names", proto, batched=True).item(*[floats(1) + index for index in range(len(names))])


def classifier(name, **labels):
    """What skl2onnx makes of a classifier: a label, and a sequence of maps."""
    key = TensorProto.INT64 if "classlabels_int64s" in labels else TensorProto.STRING
    datatype = "INT64" if key == TensorProto.INT64 else "BYTES"
    names = {"classlabels_ints" if datatype == "INT64" else "classlabels_strings": next(iter(labels.values()))}
    coefficients = [0.5, -1.0, 0.25, 2.0, -0.125, 1.0]
    linear = {"coefficients": coefficients, "intercepts": [0.1, 0.2, 0.3], "post_transform": "SOFTMAX", **names}
    nodes = [
        node("LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", **linear),
        node("ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml", **labels),
    ]
    proto = model(nodes, [spec("x", "FP32", ["n", 2])], [spec("label", datatype, ["n"]), maps("probabilities", key)])
    return Model(name, proto, batched=True, tolerance=1e-6).item(floats(1, 2)).item(floats(3, 2))


def stateful():
    """Like a voice activity detector: the batch is the first dimension of one input and the second of another."""
    inputs = [spec("input", "FP32", ["batch", "samples"]), spec("state", "FP32", [2, "batch", 128])]
    inputs += [spec("sr", "INT64", [])]
    nodes = [
        node("ReduceMean", ["input", "one"], ["mean"]),
        node("Cast", ["sr"], ["rate"], to=TensorProto.FLOAT),
        node("Div", ["mean", "rate"], ["output"]),
        node("Add", ["state", "output"], ["stateN"]),
    ]
    outputs = [spec("output", "FP32", ["batch", 1]), spec("stateN", "FP32", [2, "batch", 128])]
    made = Model("stateful", model(nodes, inputs, outputs, [constant("one", [1], "INT64")]), tolerance=1e-6)
    rate = np.array(16000, np.int64)
    made.item(floats(1, 64), np.zeros((2, 1, 128), np.float32), rate)
    return made.item(floats(3, 5), floats(2, 3, 128), rate)


def external_weights():
    weights = constant("w", np.linspace(-1, 1, 4 * 5000).reshape(4, 5000), "FP32")
    proto = model([node("MatMul", ["x", "w"], ["y"])], [spec("x", "FP32", ["n", 4])], [spec("y", "FP32", ["n", 5000])])
    proto.graph.initializer.append(weights)
    return Model("external_weights", proto, batched=True, tolerance=1e-5).item(floats(1, 4))


def big_output():
    """A few MB of numbers from one."""
    nodes = [
        node("Range", ["zero", "count", "one"], ["counted"]),
        node("Div", ["counted", "three"], ["y"]),
    ]
    weights = [constant(name, value, "FP32") for name, value in (("zero", 0), ("one", 1), ("three", 3))]
    proto = model(nodes, [spec("count", "FP32", [])], [spec("y", "FP32", ["count"])], weights)
    return Model("big_output", proto).item(np.array(300_000, np.float32))


def huge_declaration(name, *shape):
    """No machine has the memory for such an input; nobody sends one either."""
    return Model(name, model([node("Neg", ["x"], ["y"])], [spec("x", "FP32", shape)], [spec("y", "FP32", shape)]))


def models():
    yield from (several(), default(), oldest(), newest(), no_inputs(), any_rank())
    yield from empty()
    yield from (wrongly_declared(), odd_names(), stateful(), external_weights(), big_output())
    yield classifier("classifier_int64", classlabels_int64s=[30, 4, -1])
    yield classifier("classifier_strings", classlabels_strings=["zebra", "Ähre", "a b"])
    yield huge_declaration("huge", 1 << 40)
    yield huge_declaration("huge_product", 1 << 40, 1 << 40)
    yield huge_declaration("huge_dynamic", *"abcdefgh", 1 << 30)
