"""Writes the golden samples of the stub, which has no graph: its answers are defined by hashes, worked out here once more.

A row's seed is SHA-256 over "DATATYPE dims " and its elements, strings with their length before them. Element i of output
`name` is (n + 1) / 2^32, where n are the first 4 bytes of SHA-256 over seed, name and i. Probabilities are divided by
their sum.
"""

import argparse
import hashlib
from pathlib import Path

import model_files

DEFAULT_OUT = Path(__file__).resolve().parent.parent / "stub"

LABELS = ["negative", "neutral", "positive"]
TEXTS = [
    "I like it",
    "I LIKE IT",
    "it broke on the first day",
    "fine",
    "Ça marche très bien 🎉",
    "a \"quoted\" word,\nand a second line",
    "0",
    "x" * 2000,
]


def probabilities(text):
    data = text.encode()
    seed = hashlib.sha256(b"BYTES 1 " + len(data).to_bytes(8, "little") + data).digest()
    draws = []
    for index in range(len(LABELS)):
        digest = hashlib.sha256(seed + b"probabilities" + index.to_bytes(8, "little")).digest()
        draws.append((int.from_bytes(digest[:4], "big") + 1) / 2**32)
    return [draw / sum(draws) for draw in draws]


def sample(text):
    values = [round(value, 8) for value in probabilities(text)]
    confidence, label = max(zip(values, LABELS))
    return {
        "text": text,
        "prediction": {"label": label, "confidence": confidence, "probabilities": dict(zip(LABELS, values))},
    }


def main(out=DEFAULT_OUT):
    folder = Path(out) / "1"
    folder.mkdir(parents=True, exist_ok=True)
    golden = {"tolerance": model_files.TOLERANCE, "samples": [sample(text) for text in TEXTS]}
    model_files.write_json(folder / "golden.json", golden)
    metrics = {"compared_with": "the same hashes, worked out in Python", "texts": len(TEXTS)}
    model_files.write_json(folder / "metrics.json", metrics)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the model (default: the bundled one)")
    main(parser.parse_args().out)
