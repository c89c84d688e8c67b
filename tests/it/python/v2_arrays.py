"""An array of every datatype, with its limits; and whether one came back as it went."""

import ml_dtypes
import numpy as np

ARRAYS = {
    "bool": np.array([[True, False, True]]),
    "uint8": np.array([[0, 255]], np.uint8),
    "uint16": np.array([[0, 2**16 - 1]], np.uint16),
    "uint32": np.array([[0, 2**32 - 1]], np.uint32),
    "uint64": np.array([[0, 2**64 - 1]], np.uint64),
    "int8": np.array([[-128, 127]], np.int8),
    "int16": np.array([[-(2**15), 2**15 - 1]], np.int16),
    "int32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "int64": np.array([[-(2**63), 2**63 - 1], [2**53 + 1, 0]], np.int64),
    "fp16": np.array([[1.5, -65504.0, 6e-8]], np.float16),
    "bf16": np.array([[1.5, -3e38]], ml_dtypes.bfloat16),
    "fp32": np.array([[1.1, -3.4e38, np.inf, np.nan]], np.float32),
    "fp64": np.array([[1 / 3], [-1e308]], np.float64),
    "bytes": np.array([["", "ünï"], ["日本", 'quo"ted\n']], np.object_),
}


def same(name, given, answered):
    if name == "bytes":
        answered = np.array([value.decode() if isinstance(value, bytes) else value for value in answered.flatten()], object)
        answered = answered.reshape(given.shape)
        assert np.array_equal(given, answered), (name, answered)
        return
    assert given.dtype == answered.dtype, (name, answered.dtype)
    # Bit for bit, NaN included.
    assert given.tobytes() == np.ascontiguousarray(answered).tobytes() and given.shape == answered.shape, (name, answered)
