"""The figures that the server is built to reach, each as a ratio of two things measured in turn."""

from . import closed, equality, raw
from .ratios import median, ratio

CONNECTIONS = 32
FIELDS = ("per_second", "p50_ms", "p99_ms", "cpu_us_per_request", "cores", "pss_mb", "rss_mb")


def measure(bench):
    """All of them, round after round."""
    subjects, services, options = bench.subjects, bench.services, bench.options
    hit, linear, toxicity = subjects.hit(), subjects.linear_regression(), subjects.toxicity()
    plain, memory, ceiling = services.glassbox("off"), services.glassbox("memory"), services.ceiling()
    pairs = {
        "glassbox hit": (memory, hit), "ceiling hit": (ceiling, hit),
        "glassbox linear_regression": (plain, linear), "ceiling linear_regression": (ceiling, linear),
        "glassbox toxicity": (plain, toxicity), "ceiling toxicity": (ceiling, toxicity),
        "glassbox linear_regression batch 32": (plain, subjects.linear_regression(32)),
    }
    equal = {subject.name: equality.check([plain, ceiling], subject) for subject in (linear, toxicity)}
    if bench.has_python:
        computes, keeps = bench.fastapi(), services.fastapi(cache=True)
        pairs |= {"fastapi hit": (keeps, hit), "fastapi linear_regression": (computes, linear),
                  "fastapi toxicity": (computes, toxicity)}
        batch = subjects.linear_regression(32)
        for subject in (hit, linear, toxicity, batch):
            equal[subject.name] = equality.check([plain, *([] if subject in (hit, batch) else [ceiling]), computes, keeps],
                                                 subject, 40)
    runs = {name: bench.drive(*pair, CONNECTIONS) for name, pair in pairs.items()}
    if bench.minilm:
        runs |= minilm(bench, plain, equal)
    for run in runs.values():
        run()  # warms up: allocators, branch predictors, caches, Python's
    results = closed.alternate(options.rounds, runs)
    return {"equal": equal, "runs": results, "targets": targets(results)}


def minilm(bench, plain, equal):
    """The encoder: served, and ONNX Runtime alone at the batch size that suits it best."""
    subject = bench.subjects.minilm()
    if bench.has_python:
        equal[subject.name] = equality.check([plain, bench.fastapi()], subject, 40)
    runs = {"glassbox toxicity-minilm": bench.drive(plain, subject, CONNECTIONS)}
    tried = raw.minilm(bench)
    for order in dict.fromkeys(result["order"] for result in tried):
        # As arguments, so that each keeps its own.
        best = max((result for result in tried if result["order"] == order), key=lambda result: result["items_per_s"])
        bench.say(f"  ONNX Runtime alone is fastest with {best}")
        runs[f"raw toxicity-minilm {order}"] = lambda best=best: {"per_second": raw.minilm(bench, best)[0]["items_per_s"]}
    if bench.has_python:
        runs["fastapi toxicity-minilm"] = bench.drive(bench.fastapi(), subject, CONNECTIONS)
    return runs


def targets(runs):
    """The table: what, ratio, how much is wanted, whether that is at least or at most."""
    rows = []

    def add(what, ours, theirs, wanted, field="per_second", at_most=False):
        if ours in runs and theirs in runs:
            row = ratio(runs[ours], runs[theirs], field)
            if field == "per_second" and "cpu_us_per_request" in runs[theirs][0] and "batch" not in ours:
                # The other way round, so that here too more is better.
                row["by_cpu"] = ratio(runs[theirs], runs[ours], "cpu_us_per_request")
            reached = row["median"] <= wanted if at_most else row["median"] >= wanted
            rows.append({"what": what, **row, "wanted": wanted, "at_most": at_most, "reached": reached})

    for name, wanted in (("hit", 0.8), ("linear_regression", 0.8), ("toxicity", 0.9)):
        against = "the bare handler without a model" if name == "hit" else "the bare handler with the same session"
        add(f"{spoken(name)} against {against}", f"glassbox {name}", f"ceiling {name}", wanted)
    alone = "toxicity-minilm, sentences/s, against ONNX Runtime in a loop at its best batch"
    add(f"{alone}, the same texts in order of arrival", "glassbox toxicity-minilm", "raw toxicity-minilm arrival", 0.95)
    # More than a server can have: it does not know the texts that will come.
    add(f"{alone}, all texts sorted by length before", "glassbox toxicity-minilm", "raw toxicity-minilm sorted", 0.95)
    add("linear_regression, predictions/s, in batches of 32 against single ones", "glassbox linear_regression batch 32",
        "glassbox linear_regression", 5)
    for name, wanted in (("hit", 25), ("linear_regression", 13), ("toxicity", 8)):
        add(f"{spoken(name)} against FastAPI", f"glassbox {name}", f"fastapi {name}", wanted)
    for name in ("hit", "linear_regression", "toxicity"):
        add(f"p99 of {spoken(name)} against FastAPI's", f"glassbox {name}", f"fastapi {name}", 0.1, "p99_ms", True)
    for name in ("linear_regression", "toxicity", "toxicity-minilm"):
        add(f"memory under {spoken(name)} against FastAPI's processes", f"glassbox {name}", f"fastapi {name}", 0.5,
            "pss_mb", True)
    return rows


def spoken(name):
    return "cache hit" if name == "hit" else f"uncached {name}"


def tables(data):
    """For BENCHMARK.md."""
    lines = ["| what, at 32 connections | ratio | in the rounds | wanted | | the same by server CPU per request |",
             "|---|---|---|---|---|---|"]
    for row in data["targets"]:
        sign = "≤" if row["at_most"] else "≥"
        reached = "reached" if row["reached"] else "missed"
        by_cpu = row.get("by_cpu")
        by_cpu = f"{number(by_cpu['median'])} ({number(by_cpu['lowest'])} to {number(by_cpu['highest'])})" if by_cpu else ""
        lines.append(f"| {row['what']} | **{number(row['median'])}** | {number(row['lowest'])} to "
                     f"{number(row['highest'])} | {sign} {row['wanted']} | {reached} | {by_cpu} |")
    runs = ["| | predictions/s | p50 ms | p99 ms | server CPU per request, µs | memory MB (PSS) |", "|---|---|---|---|---|---|"]
    for name, results in sorted(data["runs"].items(), key=lambda item: item[0].split(" ", 1)[::-1]):
        cells = [number(median(results, field)) if field in results[0] else "" for field in
                 ("per_second", "p50_ms", "p99_ms", "cpu_us_per_request", "pss_mb")]
        runs.append(f"| {name} | {' | '.join(cells)} |")
    return {"targets": lines, "targets-runs": runs}


def number(value):
    """Three figures that count."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
