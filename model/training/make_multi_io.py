"""Makes `multi_io`: how urgently should a parcel be checked? Two inputs and two outputs of different datatypes.

    score  = clip(value / 1000 - discount / 500 + surcharge(category), 0, 1)
    bucket = "low" below 0.4, "medium" below 0.7, else "high"
"""

import argparse
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

import model_files

DEFAULT_OUT = Path(__file__).resolve().parent.parent / "multi_io"

WEIGHTS = [0.001, -0.002]
SURCHARGES = {1: 0.0, 2: 0.25, 3: 0.5}
UNKNOWN_SURCHARGE = 0.125
MEDIUM, HIGH = 0.4, 0.7
BUCKETS = ["low", "medium", "high"]


def build():
    node = helper.make_node
    nodes = [
        node("MatMul", ["amount", "weights"], ["weighted"], name="weigh"),
        # LabelEncoder knows a default, so a category that nobody planned for is an answer and not a failure.
        node("LabelEncoder", ["category"], ["surcharge"], name="surcharge_of_category", domain="ai.onnx.ml",
             keys_int64s=list(SURCHARGES), values_floats=list(SURCHARGES.values()), default_float=UNKNOWN_SURCHARGE),
        node("Add", ["weighted", "surcharge"], ["raw_score"], name="add_surcharge"),
        node("Clip", ["raw_score", "zero", "one"], ["score"], name="clip"),
        node("GreaterOrEqual", ["score", "medium"], ["at_least_medium"], name="is_medium"),
        node("GreaterOrEqual", ["score", "high"], ["at_least_high"], name="is_high"),
        node("Cast", ["at_least_medium"], ["medium_step"], name="medium_as_number", to=TensorProto.INT64),
        node("Cast", ["at_least_high"], ["high_step"], name="high_as_number", to=TensorProto.INT64),
        node("Add", ["medium_step", "high_step"], ["bucket_index"], name="count_steps"),
        node("LabelEncoder", ["bucket_index"], ["bucket"], name="name_bucket", domain="ai.onnx.ml",
             keys_int64s=[0, 1, 2], values_strings=BUCKETS, default_string="unknown"),
    ]
    constants = [helper.make_tensor("weights", TensorProto.FLOAT, [2, 1], WEIGHTS)] + [
        helper.make_tensor(name, TensorProto.FLOAT, [], [value])
        for name, value in [("zero", 0.0), ("one", 1.0), ("medium", MEDIUM), ("high", HIGH)]
    ]
    graph = helper.make_graph(
        nodes,
        "multi_io",
        [
            helper.make_tensor_value_info("amount", TensorProto.FLOAT, ["batch", 2]),
            helper.make_tensor_value_info("category", TensorProto.INT64, ["batch", 1]),
        ],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 1]),
            helper.make_tensor_value_info("bucket", TensorProto.STRING, ["batch", 1]),
        ],
        constants,
    )
    opsets = [helper.make_opsetid("", model_files.OPSET), helper.make_opsetid("ai.onnx.ml", model_files.ML_OPSET)]
    return helper.make_model(graph, opset_imports=opsets)


def reference(amount, category):
    """The same rule in numpy; returns scores and buckets of a batch."""
    surcharge = np.array([SURCHARGES.get(int(code), UNKNOWN_SURCHARGE) for code in category[:, 0]])
    score = np.clip(amount.astype(np.float64) @ np.array(WEIGHTS) + surcharge, 0, 1)
    bucket = np.array(BUCKETS)[(score >= MEDIUM).astype(int) + (score >= HIGH)]
    return score[:, None], bucket[:, None]


def samples():
    # Value and discount, category. No score lies on a bucket's border, where 32-bit rounding decides.
    items = [
        ([120.0, 0.0], 1),
        ([120.0, 0.0], 2),
        ([120.0, 0.0], 3),
        ([550.0, 0.0], 1),
        ([899.5, 49.5], 2),
        ([0.0, 0.0], 1),
        ([0.0, 500.0], 3),
        ([5000.0, 0.0], 1),
        ([-250.0, 0.0], 2),
        ([300.0, 10.0], 99),
        ([300.0, 10.0], -1),
    ]
    for amount, category in items:
        score, bucket = reference(np.array([amount]), np.array([[category]]))
        yield {
            "input": {"amount": amount, "category": [category]},
            "prediction": {"score": [round(float(score[0, 0]), 8)], "bucket": [str(bucket[0, 0])]},
        }


def main(out=DEFAULT_OUT):
    model = build()
    golden = list(samples())
    amount = np.array([sample["input"]["amount"] for sample in golden], dtype=np.float32)
    category = np.array([sample["input"]["category"] for sample in golden], dtype=np.int64)
    _compare(model, amount, category)

    random = np.random.default_rng(seed=0)
    rows = 10_000
    amount = random.uniform([-100, 0], [1500, 300], size=(rows, 2)).astype(np.float32)
    category = random.integers(0, 5, size=(rows, 1))
    error = _compare(model, amount, category)

    metrics = {
        "compared_with": "numpy, 64-bit floats",
        "rows": rows,
        "max_absolute_error_of_score_below": model_files.power_of_ten_above(error),
        "buckets_equal": True,
        "buckets_not_compared": "where the score is within the tolerance of a border",
    }
    model_files.write_version(Path(out) / "1", model, {"tolerance": model_files.TOLERANCE, "samples": golden}, metrics)


def _compare(model, amount, category):
    score, bucket = reference(amount, category)
    outputs = model_files.run(model, {"amount": amount, "category": category})
    off_border = np.minimum(abs(score - MEDIUM), abs(score - HIGH)) > model_files.TOLERANCE
    if not np.array_equal(outputs["bucket"][off_border], bucket[off_border]):
        raise SystemExit("ONNX Runtime chose another bucket than numpy")
    return model_files.assert_close(outputs["score"], score)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the model (default: the bundled one)")
    main(parser.parse_args().out)
