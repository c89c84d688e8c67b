#!/usr/bin/env python3
"""Measures the server beside what the machine allows and beside the same service in Python, in turn, in one run.

Usage: benchmark/run.py [--only targets,raw] [--rounds 5] [--seconds 3] [--full] [--keep]
Needs wrk and redis-server, the release binary and the example `ceiling`; scripts/setup-bench.sh makes the Python service
ready. `make bench` and `make bench-full` do all of that.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from harness import binary, connections, growth, history, machine, observability, rates, raw, report, scaling, split, startup, targets
from harness.bench import Bench
from harness.processes import Children
from harness.services import ROOT

# What takes longest comes last.
PARTS = {"targets": targets, "startup": startup, "observability": observability, "binary": binary, "history": history, "split": split, "raw": raw,
         "connections": connections, "rates": rates, "scaling": scaling, "growth": growth}
QUICK = ["targets", "startup", "observability", "binary", "history"]


def main():
    # Whatever is measured: ONNX Runtime keeps to itself.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    options = arguments()
    with Children() as children, tempfile.TemporaryDirectory(prefix="glassbox-bench-") as folder:
        bench = Bench(options, children, Path(folder))
        where = machine.describe()
        for name in options.parts:
            started = time.monotonic()
            bench.say(f"{name}: …")
            data = PARTS[name].measure(bench)
            tables = PARTS[name].tables(data)
            for lines in tables.values():
                bench.say("\n".join([*lines, ""]))
            bench.say(f"{name}: {time.monotonic() - started:.0f} s\n")
            if options.keep:
                report.keep(name, where, settings(options), data)
                report.fill({**tables, f"{name}-where": report.where(where, settings(options))})
        if options.keep:
            report.draw()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="parts, separated by commas: " + ", ".join(PARTS))
    parser.add_argument("--full", action="store_true", help="all parts, in their long form")
    parser.add_argument("--rounds", type=int, help="how often each comparison is made (5)")
    parser.add_argument("--seconds", type=int, help="how long each run lasts (2, or 3 with --full)")
    parser.add_argument("--minutes", type=float, help="how long memory is watched (1, or 10 with --full)")
    parser.add_argument("--keep", action="store_true", help="write benchmark/results/ and the tables of BENCHMARK.md")
    parser.add_argument("--no-python", action="store_true", help="leave the FastAPI service out")
    parser.add_argument("--python-threads", type=int, default=1, help="threads of a run in the FastAPI service")
    parser.add_argument("--target", type=Path, default=ROOT / "target", help="cargo's target folder")
    parser.add_argument("--minilm", type=Path, default=ROOT / "model/toxicity-minilm", help="the encoder's folder")
    options = parser.parse_args()
    options.parts = options.only.split(",") if options.only else list(PARTS) if options.full else QUICK
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    options.rounds = options.rounds or 5
    options.seconds = options.seconds or (3 if options.full else 2)
    options.minutes = options.minutes or (10 if options.full else 1)
    options.target = options.target.resolve()
    return options


def settings(options):
    return {"rounds": options.rounds, "seconds": options.seconds, "full": options.full}


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
