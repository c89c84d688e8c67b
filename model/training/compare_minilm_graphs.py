"""Times the operators that the graph of toxicity-minilm could be made of; prints the table that README.md quotes.

One thread inside a run, texts of one length, the candidates in turn, the best of the rounds' medians, in processor
time: other work on the machine adds little to that. Every figure is a multiple of the FP32 graph that is served. Makes
no file.
"""

import statistics
import time

import numpy as np

import minilm_head
import minilm_weights
import model_files
from minilm_graph import INPUTS, Layout, to_onnx
from minilm_session import GraphPipeline

LAYOUTS = {
    "as served": {},
    "`Attention`, `QAttention`": {"fused_attention": True},
    "`SkipLayerNormalization`": {"fused_norm": True},
    "`BiasGelu`": {"fused_gelu": True},
    "all three": {"fused_attention": True, "fused_norm": True, "fused_gelu": True},
}
SHAPES = [(1, 16), (1, 32), (1, 64), (8, 16), (8, 32), (32, 16), (32, 32)]
ROUNDS = 3
SECONDS = 0.05


def candidates():
    encoder, head = minilm_weights.load(), minilm_head.load()
    for int8 in [False, True]:
        for name, fused in LAYOUTS.items():
            layout = Layout(int8=int8, **fused)
            model = model_files.serialise(to_onnx(encoder, head, layout))
            yield ("int8" if int8 else "fp32", name), GraphPipeline(model).session


def measure(sessions, batch, tokens):
    """Returns the milliseconds of a run for each session."""
    ids = np.random.default_rng(0).integers(1000, 30000, (batch, tokens))
    inputs = dict(zip(INPUTS, [ids, np.ones_like(ids), np.zeros_like(ids)]))
    best = dict.fromkeys(sessions, float("inf"))
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            session.run(None, inputs)
            best[name] = min(best[name], _median(session, inputs))
    return best


def _median(session, inputs):
    times, until = [], time.thread_time() + SECONDS
    while len(times) < 3 or time.thread_time() < until:
        started = time.thread_time()
        session.run(None, inputs)
        times.append(1000 * (time.thread_time() - started))
    return statistics.median(times)


def main():
    sessions = dict(candidates())
    base = next(iter(sessions))
    columns = {shape: measure(sessions, *shape) for shape in SHAPES}
    print("| | operators |" + "".join(f" {batch} x {tokens} |" for batch, tokens in SHAPES))
    print("|---|---|" + "---|" * len(SHAPES))
    for key in sessions:
        ratios = "".join(f" {columns[shape][key] / columns[shape][base]:.2f} |" for shape in SHAPES)
        print(f"| {key[0]} | {key[1]} |{ratios}")
    print("milliseconds of the first row: " + ", ".join(f"{columns[shape][base]:.1f}" for shape in SHAPES))


if __name__ == "__main__":
    main()
