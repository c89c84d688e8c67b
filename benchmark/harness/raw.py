"""ONNX Runtime alone, called in a loop from Rust: what a model gives when nothing is served."""

import json
import subprocess
import tomllib

from . import bodies
from .services import PYTHON

TOKENIZE = """
import json, sys
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
tokenizer.no_padding()
tokenizer.enable_truncation(int(sys.argv[2]))
for line in sys.stdin:
    print(json.dumps(tokenizer.encode(json.loads(line)).ids))
"""


def measure(bench):
    """Every model at every batch size, with one session and with two."""
    folder, subjects = bench.folder, bench.subjects
    numbers = bodies.write(folder / "rows.items", [bodies.dump(row) for row in subjects.rows])
    texts = bodies.write(folder / "texts.items", [bodies.dump(text) for text in subjects.texts])
    models = bench.services.models
    results = {
        "linear_regression": loop(bench, models / "linear_regression/1/model.onnx", "numbers", numbers),
        "toxicity": loop(bench, models / "toxicity/1/model.onnx", "texts", texts, "--output", "probabilities"),
    }
    if bench.minilm:
        results["toxicity-minilm"] = minilm(bench)
    return results


def minilm(bench, only=None):
    """The encoder; `only` is one of its own results, to measure that combination again."""
    version = bench.minilm
    items = bench.folder / f"tokens-{version.name}.items"
    if not items.exists():
        texts = "".join(f"{bodies.dump(text)}\n" for text in bench.subjects.texts)
        most = tomllib.loads((version.parent / "model.toml").read_text())["text"].get("max_tokens", 512)
        done = subprocess.run([PYTHON, "-c", TOKENIZE, version / "tokenizer.json", str(most)], input=texts, text=True,
                              capture_output=True, timeout=120, check=True)
        items.write_text(done.stdout)
    if only:
        results = loop(bench, version / "model.onnx", "tokens", items, "--sorted", batches=[only["batch"]],
                       threads=[only["threads"]])
        return [result for result in results if result["order"] == only["order"]]
    return loop(bench, version / "model.onnx", "tokens", items, "--sorted")


def loop(bench, graph, kind, items, *more, batches=(1, 2, 4, 8, 16, 32, 64), threads=(1, 2)):
    """One start of `ceiling raw`, and the lines that it prints."""
    command = [bench.services.example(), "--library", bench.services.library(), "raw", "--graph", graph, "--kind", kind,
               "--items", items, "--batches", ",".join(map(str, batches)), "--threads", ",".join(map(str, threads)),
               "--seconds", str(bench.options.seconds / 2), *more]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise SystemExit(f"{command[0]} raw failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def tables(data):
    """For BENCHMARK.md: the best of both thread counts per batch size."""
    sizes = sorted({result["batch"] for results in data.values() for result in results})
    lines = ["| items/s at batch | " + " | ".join(map(str, sizes)) + " |", "|---" * (len(sizes) + 1) + "|"]
    for model, results in data.items():
        for order in dict.fromkeys(result["order"] for result in results):
            for threads in sorted({result["threads"] for result in results}):
                of = {result["batch"]: result["items_per_s"] for result in results
                      if result["order"] == order and result["threads"] == threads}
                name = f"{model}, {threads} session{'s' * (threads > 1)}" + (", sorted by length" if order == "sorted" else "")
                lines.append(f"| {name} | " + " | ".join(f"{of.get(size, 0):,.0f}" for size in sizes) + " |")
    return {"raw": lines}
