#!/usr/bin/env python3
"""Starts the server again and again, stops it with SIGTERM while it loads models, and prints the exit codes.

    scripts/stop-while-loading.py --binary FILE [--starts 1000]   half of the starts load a graph of 20,000 nodes, half the
                                                                  bundled models

Ends with 1 when a start did not end with exit code 0. A negative code is the number of the signal that ended the process: 11
is a segmentation fault.
"""

import argparse
import collections
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time

HOME = pathlib.Path(__file__).resolve().parent.parent
GRAPHS = HOME / "tests/it/python/hard_graphs.py"
PACKAGES = HOME / ".python"

# For the server to say that it listens, and to end after SIGTERM, in seconds.
LONGEST_START = 60
LONGEST_STOP = 60

# Between the first and the last moment after "listening" at which SIGTERM comes, in seconds.
SPREAD = 0.4


def lines_of(stream):
    lines = queue.Queue()

    def read():
        for line in stream:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def stopped(binary, model, wait):
    """Starts the server, waits after its line "listening", and stops it. Returns its exit code."""
    options = ["--listen", "127.0.0.1:0", *(["--model", str(model)] if model else [])]
    environment = os.environ | {"GLASSBOX__HISTORY__MODE": "off", "GLASSBOX__TELEMETRY__LOG_FORMAT": "json"}
    server = subprocess.Popen([binary, "serve", *options], cwd=HOME, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        lines, end = lines_of(server.stdout), time.monotonic() + LONGEST_START
        while '"listening"' not in (line := lines.get(timeout=max(end - time.monotonic(), 0.001)) or "end"):
            if line == "end":
                return f"ended before it listened: {server.wait()}"
        time.sleep(wait)
        server.terminate()
        return server.wait(LONGEST_STOP)
    except queue.Empty:
        return "did not listen"
    except subprocess.TimeoutExpired:
        return "did not end"
    finally:
        server.kill()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(HOME / "target/release/glassbox"))
    parser.add_argument("--starts", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(PACKAGES)}
        subprocess.run([sys.executable, str(GRAPHS), folder], env=environment, check=True)
        models = {"a graph of 20,000 nodes": pathlib.Path(folder) / "chain.onnx", "the bundled models": None}
        codes = {name: collections.Counter() for name in models}
        for number in range(arguments.starts):
            name = list(models)[number % len(models)]
            # The golden ratio spreads any number of moments evenly.
            wait = SPREAD * (number * 0.618034 % 1)
            codes[name][stopped(arguments.binary, models[name], wait)] += 1
            if number % 100 == 99:
                print(f"{number + 1} of {arguments.starts} starts", flush=True)
    for name, counted in codes.items():
        print(f"SIGTERM while loading {name}: exit codes {dict(counted)}")
    sys.exit(any(code != 0 for counted in codes.values() for code in counted))


main()
