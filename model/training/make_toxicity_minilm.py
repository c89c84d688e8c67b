"""Builds `toxicity-minilm`: the encoder all-MiniLM-L6-v2 with the committed head, as version 1 (FP32) and 2 (int8).

Writes model.onnx and tokenizer.json, which are too large for the repository, and checks them against the golden samples
that are in it. Started by `make models`.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import minilm_head
import minilm_weights
import model_files
from minilm_graph import Layout, to_onnx
from minilm_session import GraphPipeline
from toxicity_graph import LABELS

DEFAULT_OUT = Path(__file__).resolve().parent.parent / "toxicity-minilm"

VERSIONS = {"1": Layout(), "2": Layout(int8=True)}


def build(head):
    """Returns the bytes of model.onnx of each version."""
    encoder = minilm_weights.load()
    return {version: model_files.serialise(to_onnx(encoder, head, layout)) for version, layout in VERSIONS.items()}


def write(out, models):
    """Each file appears whole or not at all: the server takes a folder without them for one that was not built."""
    for version, content in models.items():
        folder = Path(out) / version
        folder.mkdir(parents=True, exist_ok=True)
        _put(folder / "tokenizer.json", (minilm_weights.folder() / "tokenizer.json").read_bytes())
        _put(folder / "model.onnx", content)


def check(pipeline, golden):
    """Fails when an answer is further from its golden sample than the tolerance; returns the largest distance."""
    samples = golden["samples"]
    expected = [[sample["prediction"]["probabilities"][label] for label in LABELS] for sample in samples]
    texts = [sample["text"] for sample in samples]
    return model_files.assert_close(pipeline.predict_proba(texts), expected, golden["tolerance"])


def main(out=DEFAULT_OUT):
    models = build(minilm_head.load())
    for version, content in models.items():
        golden = json.loads((DEFAULT_OUT / version / "golden.json").read_text(encoding="utf-8"))
        check(GraphPipeline(content), golden)
    write(out, models)
    for version, content in models.items():
        print(f"toxicity-minilm {version}: {len(content) / 1e6:.0f} MB, its golden samples agree")
    if Path(out).resolve() != DEFAULT_OUT:
        for version in models:
            for name in ["golden.json", "metrics.json"]:
                shutil.copyfile(DEFAULT_OUT / version / name, Path(out) / version / name)


def _put(path, content):
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    os.replace(beside, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the model (default: the bundled one)")
    main(parser.parse_args().out)
