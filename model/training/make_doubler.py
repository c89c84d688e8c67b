"""Makes `doubler`, the smallest tensor model: y = 2 x, with a free batch size and a free length."""

import argparse
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

import model_files

DEFAULT_OUT = Path(__file__).resolve().parent.parent / "doubler"


def build():
    shape = ["batch", "length"]
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Mul", ["x", "two"], ["y"], name="double")],
            "doubler",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            [helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])],
        ),
        opset_imports=[helper.make_opsetid("", model_files.OPSET)],
    )


def samples():
    inputs = [
        [0.0],
        [1.0],
        [1.5, -2.25],
        [0.1, 0.2, 0.3],
        [-1.0, -0.5, 0.0, 0.5, 1.0],
        [1024.0, 65536.0, 16777216.0],
        [1e-6, -1e-6],
        [float(n) for n in range(32)],
        [3.14159274, 2.71828175],
    ]
    return [{"input": x, "prediction": [2 * value for value in x]} for x in inputs]


def main(out=DEFAULT_OUT):
    model = build()
    golden = samples()
    for sample in golden:
        model_files.assert_close(_run(model, [sample["input"]]), [sample["prediction"]])

    random = np.random.default_rng(seed=0)
    lengths = [1, 2, 3, 10, 100, 1000]
    vectors = [random.normal(scale=100, size=(8, length)).astype(np.float32) for length in lengths]
    error = max(model_files.assert_close(_run(model, x), 2.0 * x.astype(np.float64)) for x in vectors)

    metrics = {
        "compared_with": "numpy, 64-bit floats",
        "vectors": 8 * len(lengths),
        "lengths": lengths,
        "max_absolute_error": error,
    }
    model_files.write_version(Path(out) / "1", model, {"tolerance": model_files.TOLERANCE, "samples": golden}, metrics)


def _run(model, x):
    return model_files.run(model, {"x": np.asarray(x, dtype=np.float32)})["y"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the model (default: the bundled one)")
    main(parser.parse_args().out)
