"""Makes every bundled model that is made by a script: train_all.py --data labeled_data.csv"""

import argparse
import time
from pathlib import Path

import make_doubler
import make_multi_io
import make_stub
import model_files
import toxicity_corpus
import train_linear_regression
import train_toxicity
import train_toxicity_minilm

REPOSITORY = Path(__file__).resolve().parent.parent


def main(data, out):
    # First, so that a wrong path fails before anything is overwritten.
    toxicity_corpus.check(data)
    steps = {
        "doubler": make_doubler.main,
        "multi_io": make_multi_io.main,
        "stub": make_stub.main,
        "linear_regression": train_linear_regression.main,
        "toxicity": lambda folder: train_toxicity.main(data, folder),
        "toxicity-minilm": lambda folder: train_toxicity_minilm.main(data, folder),
    }
    for name, make in steps.items():
        started = time.monotonic()
        make(out / name)
        print(f"{name}: made in {time.monotonic() - started:.1f} s")
        for file in sorted((out / name).glob("*/*")):
            print(f"  {model_files.sha256(file)}  {file.stat().st_size:>8}  {file.relative_to(out / name)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="labeled_data.csv, see README.md")
    parser.add_argument("--out", type=Path, default=REPOSITORY, help="model repository (default: this one)")
    arguments = parser.parse_args()
    main(arguments.data, arguments.out)
