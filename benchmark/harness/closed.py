"""Closed loop: N connections, each sends its next request when the answer to the last one has come. Driven by wrk."""

import json
import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "wrk.lua"


def drive(service, subject, connections, seconds, keys_file=None):
    """One run. Predictions per second, latency, and what the server's processes used meanwhile; fails on any error."""
    folder = subject.file.parent
    keys = keys_file or folder / f"{service.address.replace(':', '-')}.key"
    if keys_file is None:
        keys.write_text(service.key + "\n")
    url = f"http://{service.address}{service.path(subject)}"
    # One thread drives them all: a second one would take more of the two cores from the server than it gives.
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "20s", "-s", SCRIPT, url]
    before = service.child.cpu_seconds()
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60,
                          env={**os.environ, "BENCH_BODIES": str(subject.file), "BENCH_KEYS": str(keys),
                               "BENCH_JSON_LENGTH": str(subject.json_length)})
    cpu = service.child.cpu_seconds() - before
    memory = service.child.memory_mb()
    service.child.forget_log()
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise SystemExit(f"wrk failed on {url}:\n{done.stdout}{done.stderr}")
    result = json.loads(line.removeprefix("RESULT "))
    if not (result["failed"] or result["requests"]) and seconds < 30:
        # Nothing was answered yet: large bodies, or neighbours who hold the machine.
        return drive(service, subject, connections, seconds * 4, keys_file)
    if result["failed"] or not result["requests"]:
        raise SystemExit(f"{result['failed']} of {result['requests']} requests failed on {url}:\n{done.stdout}")
    requests = result["requests"]
    return {
        "per_second": round(requests * subject.batch / result["seconds"], 1),
        "p50_ms": result["p50_us"] / 1000, "p90_ms": result["p90_us"] / 1000, "p99_ms": result["p99_us"] / 1000,
        "p999_ms": result["p999_us"] / 1000, "max_ms": result["max_us"] / 1000, "requests": requests,
        "cpu_us_per_request": round(cpu / requests * 1e6, 2), "cores": round(cpu / result["seconds"], 2), **memory,
    }


def alternate(rounds, runs):
    """Makes all `runs` (name: function) once per round, in an order that turns, so that a slow minute hits all of them."""
    results = {name: [] for name in runs}
    names = list(runs)
    for turn in range(rounds):
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            results[name].append(runs[name]())
    return results
