"""Every datatype at every rank, with fixed and with dynamic dimensions, and the ends of its range."""

import itertools

import ml_dtypes
import numpy as np
from onnx import helper

from onnx_files import DATATYPES, Model, model, spec

SHAPE = [2, 1, 3, 2, 1]
OTHER_SHAPE = [1, 3, 1, 2, 2]

FLOATS = {"FP16": np.finfo(np.float16), "BF16": ml_dtypes.finfo(ml_dtypes.bfloat16)}
FLOATS |= {"FP32": np.finfo(np.float32), "FP64": np.finfo(np.float64)}

TEXTS = ["", " ", "plain", "ünïcödé", "日本語", "👩‍👩‍👧", 'quo"ted\\', "line\nbreak\ttab", "\u2028\x7f\x01", "null", "1e5"]


def values(datatype):
    """The ends of the range, and what lies around the ends of other ranges."""
    if datatype == "BOOL":
        return [True, False]
    if datatype == "BYTES":
        return TEXTS
    if datatype in FLOATS:
        info = FLOATS[datatype]
        ends = [info.max, info.min, info.tiny, info.smallest_subnormal, -info.smallest_subnormal, info.eps]
        return [*map(float, ends), 0.0, -0.0, 1.0, -1.5, 0.1, 1 / 3, 1e-7]
    info = np.iinfo(DATATYPES[datatype][1])
    edges = [info.min, info.max, 0, 1, -1, 2**53 + 1, -(2**53) - 1, 2**63, 2**31, 255]
    return [value for value in edges if info.min <= value <= info.max]


def tensor(datatype, shape):
    dtype = DATATYPES[datatype][1]
    elements = itertools.islice(itertools.cycle(values(datatype)), int(np.prod(shape)))
    return np.array(list(elements), dtype).reshape(shape)


def identity(datatype, rank, dynamic):
    shape = [f"d{index}" for index in range(rank)] if dynamic else SHAPE[:rank]
    node = helper.make_node("Identity", ["x"], ["y"])
    proto = model([node], [spec("x", datatype, shape)], [spec("y", datatype, shape)])
    kind = "dynamic" if dynamic else "fixed"
    made = Model(f"{datatype}_rank{rank}_{kind}", proto, batched=dynamic and rank > 0)
    for size in [SHAPE[:rank], *([OTHER_SHAPE[:rank]] if dynamic else [])]:
        array = tensor(datatype, size)
        # Python's onnxruntime has no way to take or give BF16.
        made.item(array, reference=[array] if datatype == "BF16" else None)
    return made


def every_value(datatype):
    """All of `values` as one list."""
    node = helper.make_node("Identity", ["x"], ["y"])
    proto = model([node], [spec("x", datatype, ["n"])], [spec("y", datatype, ["n"])])
    made = Model(f"{datatype}_values", proto, batched=True)
    array = np.array(values(datatype), DATATYPES[datatype][1])
    made.item(array, reference=[array])
    if datatype in FLOATS:
        # Spelled with fewer digits than the number has, and as whole numbers: the model gets the nearest.
        spelled = [0.1, 1e-45, 2.2e-44, 3.3, 7, -2]
        nearest = np.array(spelled, np.float64).astype(DATATYPES[datatype][1])
        made.item(nearest, reference=[nearest], raw=spelled)
    return made


def cast(datatype):
    """To FP64 and to text, so that the library shows what reached it."""
    if datatype == "BYTES":
        return None
    node = helper.make_node("Cast", ["x"], ["y"], to=DATATYPES["FP64"][0])
    proto = model([node], [spec("x", datatype, [None])], [spec("y", "FP64", [None])])
    made = Model(f"{datatype}_cast", proto, batched=True)
    array = np.array(values(datatype), DATATYPES[datatype][1])
    return made.item(array, reference=[array.astype(np.float64)] if datatype == "BF16" else None)


def not_finite(datatype):
    """NaN and both infinities, which become null."""
    nodes = [helper.make_node("Div", ["a", "b"], ["y"])]
    shape = ["n"]
    proto = model(nodes, [spec("a", datatype, shape), spec("b", datatype, shape)], [spec("y", datatype, shape)])
    dtype = DATATYPES[datatype][1]
    top, bottom = np.array([1, -1, 0, 1, 5], dtype), np.array([0, 0, 0, -0.0, 2], dtype)
    return Model(f"{datatype}_not_finite", proto, batched=True).item(top, bottom)


def models():
    for datatype, rank, dynamic in itertools.product(DATATYPES, range(6), (False, True)):
        if rank > 0 or not dynamic:
            yield identity(datatype, rank, dynamic)
    yield from map(every_value, DATATYPES)
    yield from filter(None, map(cast, DATATYPES))
    yield from map(not_finite, ["FP16", "FP32", "FP64"])
