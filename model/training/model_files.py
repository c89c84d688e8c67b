"""Writes the files of one model version, so that the same training gives the same bytes on every run."""

import hashlib
import importlib.metadata
import json
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

# An older format than the libraries' newest, so that older runtimes can load the models too.
IR_VERSION = 8
OPSET = 17
ML_OPSET = 3

# Largest accepted distance between the training side and ONNX Runtime.
TOLERANCE = 1e-5

LIBRARIES = ["numpy", "onnx", "onnxruntime", "scikit-learn", "scipy", "skl2onnx"]


def write_version(out, model, golden, metrics):
    """Writes model.onnx, golden.json and metrics.json into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(serialise(model))
    write_json(out / "golden.json", golden)
    write_json(out / "metrics.json", metrics | {"libraries": library_versions()})


def write_json(path, value):
    """Golden samples go one to a line, everything else is indented."""
    if "samples" in value:
        text = _one_sample_per_line(value)
    else:
        text = json.dumps(value, indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def serialise(model):
    """Checks the graph and returns its bytes; everything that a library stamps on a model is overwritten."""
    model.ir_version = IR_VERSION
    model.producer_name = "glassbox-training"
    model.producer_version = "1"
    model.domain = ""
    model.doc_string = ""
    model.model_version = 1
    del model.metadata_props[:]
    # skl2onnx lists them in the order of a hash set, which differs from process to process.
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def run(model, inputs):
    """Runs the graph in ONNX Runtime; returns its outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(serialise(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


def assert_close(onnx_output, reference, tolerance=TOLERANCE):
    """Fails when ONNX Runtime is further than `tolerance` from the training side; returns the largest distance.

    Above 1 the distance is relative, as the server takes it: at 150, neighbouring FP32 numbers are 1.5e-5 apart.
    """
    reference = np.asarray(reference, dtype=np.float64)
    off = np.abs(np.asarray(onnx_output, dtype=np.float64) - reference)
    distance = float(np.max(off / np.maximum(1.0, np.abs(reference))))
    # Written so that NaN fails too.
    if not distance <= tolerance:
        raise SystemExit(f"ONNX Runtime differs from the training side by {distance:.3g}, more than {tolerance:g}")
    return distance


def power_of_ten_above(distance):
    """An upper bound to publish: the exact last bits differ between processors, their order of magnitude does not."""
    return 0.0 if distance == 0 else 10.0 ** math.ceil(math.log10(distance))


def library_versions():
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _one_sample_per_line(golden):
    samples = [json.dumps(sample, allow_nan=False) for sample in golden["samples"]]
    return '{"tolerance": %s, "samples": [\n  %s\n]}' % (json.dumps(golden["tolerance"]), ",\n  ".join(samples))
