"""Describes the numbers that a model was trained on: what a running server compares those of its callers with."""

import numpy as np


def figures(names, rows):
    """One entry per column of `rows`, as the graph reads them: in FP32, where a bound may be another number than in FP64.

    NaN is a value that is missing. The mean and the deviation are rounded, the bounds are exact.
    """
    return [_figures(name, column) for name, column in zip(names, np.asarray(rows, dtype=np.float32).T, strict=True)]


def _figures(name, column):
    known = column[~np.isnan(column)].astype(np.float64)
    return {
        "name": name,
        "mean": _rounded(known.mean()),
        "std": _rounded(known.std()),
        "min": float(known.min()),
        "max": float(known.max()),
        "missing": round(1 - len(known) / len(column), 6),
    }


def _rounded(value):
    """Ten decimals: processors differ in the last bits of a sum."""
    return round(float(value), 10)
