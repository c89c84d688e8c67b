"""Open loop: calls that come at a fixed rate whatever the server does, with latency counted from when each was due."""

import json
import subprocess

from . import closed
from .ratios import median
from .targets import number


def measure(bench):
    """At half of what FastAPI can, for both; and at half of what the server can, which FastAPI cannot."""
    subjects, services = bench.subjects, bench.services
    plain, results = services.glassbox("off"), []
    for subject in (subjects.linear_regression(), subjects.toxicity()):
        rates = {"half of the server's limit": bench.drive(plain, subject, 32)()["per_second"] / 2}
        runs = {}
        if bench.has_python:
            rates["half of FastAPI's limit"] = bench.drive(bench.fastapi(), subject, 32)()["per_second"] / 2
            rate = rates["half of FastAPI's limit"]
            runs["half of FastAPI's limit", "fastapi"] = lambda subject=subject, rate=rate: call(
                bench, bench.fastapi(), subject, rate)
        for what, rate in rates.items():
            for service in (plain, services.ceiling()):
                runs[what, service.name] = lambda service=service, subject=subject, rate=rate: call(
                    bench, service, subject, rate)
        for (what, service), rounds in closed.alternate(min(bench.options.rounds, 5), runs).items():
            results.append({"subject": subject.name, "what": what, "service": service, "runs": rounds})
    return results


def call(bench, service, subject, rate):
    """One run of `ceiling load`; fails on any error."""
    command = [bench.services.example(), "load", "--address", service.address, "--path", service.path(subject), "--key",
               service.key, "--bodies", subject.file, "--rate", f"{rate:.1f}", "--seconds", bench.options.seconds,
               "--connections", 64]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          timeout=bench.options.seconds * 10 + 60)
    service.child.forget_log()
    if done.returncode or (result := json.loads(done.stdout))["errors"]:
        raise SystemExit(f"calls at {rate:.0f}/s failed on {service.name}: {done.stdout}{done.stderr}")
    return {**result, **{f"{name}_ms": result[f"{name}_us"] / 1000 for name in ("p50", "p99", "p999")}}


def tables(data):
    lines = ["| calls at a fixed rate | service | calls/s | p50 ms | p99 ms | p99.9 ms |", "|---|---|---|---|---|---|"]
    for entry in data:
        cells = [number(median(entry["runs"], field)) for field in ("achieved", "p50_ms", "p99_ms", "p999_ms")]
        lines.append(f"| {entry['subject']}, {entry['what']} | {entry['service']} | " + " | ".join(cells) + " |")
    return {"rates": lines}
