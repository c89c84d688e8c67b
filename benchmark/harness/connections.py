"""Throughput and latency at 1, 8, 32 and 128 connections, and the answers that Redis keeps."""

from . import closed
from .ratios import median
from .targets import number

CONNECTIONS = (1, 8, 32, 128)


def measure(bench):
    """Every service on every subject. Hits come from where each service keeps them."""
    subjects, services = bench.subjects, bench.services
    plain, hit = services.glassbox("off"), subjects.hit()
    kinds = [subjects.linear_regression(), subjects.toxicity()] + ([subjects.minilm()] if bench.minilm else [])
    pairs = {"glassbox, memory": (services.glassbox("memory"), hit), "glassbox, tiered": (services.glassbox("tiered"), hit),
             "glassbox, Redis": (services.glassbox("redis"), hit), "ceiling": (services.ceiling(), hit)}
    pairs = {(name, hit.name): pair for name, pair in pairs.items()}
    for subject in kinds:
        pairs["glassbox", subject.name] = (plain, subject)
        if subject.model != "toxicity-minilm":
            pairs["ceiling", subject.name] = (services.ceiling(), subject)
        if bench.has_python:
            pairs["fastapi", subject.name] = (bench.fastapi(), subject)
    if bench.has_python:
        pairs["fastapi, Redis", hit.name] = (services.fastapi(cache=True), hit)
    runs = {(*name, count): bench.drive(*pair, count) for name, pair in pairs.items() for count in CONNECTIONS}
    results = closed.alternate(min(bench.options.rounds, 3), runs)
    return [{"service": service, "subject": subject, "connections": count, "runs": rounds}
            for (service, subject, count), rounds in results.items()]


def tables(data):
    """One row per service and subject; in each cell predictions/s and p99."""
    lines = ["| predictions/s, and p99 in ms, at connections | " + " | ".join(map(str, CONNECTIONS)) + " |",
             "|---" * (len(CONNECTIONS) + 1) + "|"]
    rows = {}
    for entry in data:
        cell = f"{number(median(entry['runs'], 'per_second'))}, {number(median(entry['runs'], 'p99_ms'))}"
        rows.setdefault((entry["subject"], entry["service"]), {})[entry["connections"]] = cell
    for (subject, service), cells in sorted(rows.items()):
        lines.append(f"| {subject}: {service} | " + " | ".join(cells.get(count, "") for count in CONNECTIONS) + " |")
    return {"connections": lines}
