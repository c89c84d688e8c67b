"""Trains `linear_regression`: the progression of diabetes within a year, from ten measurements of a patient.

The data comes with scikit-learn (442 patients; Efron, Hastie, Johnstone, Tibshirani, "Least Angle Regression", 2004).
"""

import argparse
from pathlib import Path

import numpy as np
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split

import feature_figures
import model_files

DEFAULT_OUT = Path(__file__).resolve().parent.parent / "linear_regression"


def fit(x, y):
    regression = LinearRegression().fit(x, y)
    # Rounded, so that the linear algebra libraries of different processors end in the same file.
    regression.coef_ = np.round(regression.coef_, 4)
    regression.intercept_ = np.round(regression.intercept_, 4)
    return regression


def to_onnx(regression, features):
    model = convert_sklearn(
        regression,
        name="linear_regression",
        initial_types=[("x", FloatTensorType([None, features]))],
        final_types=[("y", FloatTensorType([None, 1]))],
        target_opset={"": model_files.OPSET, "ai.onnx.ml": model_files.ML_OPSET},
    )
    for value in [model.graph.input[0], model.graph.output[0]]:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def golden_samples(regression, held_out):
    """Eight patients of the held-out set, rounded to what a person would type, and three made-up ones."""
    inputs = np.vstack([np.round(held_out[:8], 4), np.zeros(10), np.full(10, 0.1), np.full(10, -0.2)])
    predictions = np.round(regression.predict(inputs), 8)
    return [{"input": x.tolist(), "prediction": [float(y)]} for x, y in zip(inputs, predictions)]


def main(out=DEFAULT_OUT):
    data = load_diabetes()
    x_train, x_test, y_train, y_test = train_test_split(data.data, data.target, test_size=0.2, random_state=42)
    regression = fit(x_train, y_train)
    model = to_onnx(regression, x_train.shape[1])

    golden = golden_samples(regression, x_test)
    model_files.assert_close(
        _run(model, [sample["input"] for sample in golden]), [sample["prediction"] for sample in golden])

    predicted = regression.predict(x_test)
    difference = model_files.assert_close(_run(model, x_test)[:, 0], predicted)
    metrics = {
        "data": "sklearn.datasets.load_diabetes",
        "rows": {"train": len(x_train), "held_out": len(x_test)},
        "split": "20 % held out at random, random_state 42",
        "held_out": {
            "r2": round(r2_score(y_test, predicted), 6),
            "rmse": round(root_mean_squared_error(y_test, predicted), 6),
            "mae": round(mean_absolute_error(y_test, predicted), 6),
        },
        "intercept": float(regression.intercept_),
        "coefficients": dict(zip(data.feature_names, regression.coef_.tolist())),
        "features": {"x": feature_figures.figures(data.feature_names, x_train)},
        "onnx_difference_below": model_files.power_of_ten_above(difference),
    }
    model_files.write_version(Path(out) / "1", model, {"tolerance": model_files.TOLERANCE, "samples": golden}, metrics)


def _run(model, x):
    return model_files.run(model, {"x": np.asarray(x, dtype=np.float32)})["y"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the model (default: the bundled one)")
    main(parser.parse_args().out)
