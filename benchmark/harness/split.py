"""What the way to model workers costs, and what a second worker brings: one process against an API server with workers."""

from . import client, closed
from .processes import free_port
from .ratios import median, ratio
from .targets import number

CONNECTIONS = 32
QUIET = 'log_filter = "info"'

# One thread per process: what a second worker brings must not be what a second thread would have brought.
ONE_THREAD = {"GLASSBOX__RUNTIME__THREADS": "1", "GLASSBOX__RUNTIME__MAX_QUEUE_WAIT": "20s"}

# What is compared with what. Nothing is wanted of a machine on which API server, workers, Redis and callers share the cores.
PAIRS = [("one worker", "one process"), ("two workers", "one process"), ("two workers", "one worker")]


def measure(bench):
    """The shortest thing that the server does, where the way weighs most, and the heaviest that there is, where it weighs least."""
    subjects = {"linear_regression": bench.subjects.linear_regression(), "toxicity, 64 texts": bench.subjects.toxicity(64)}
    if bench.minilm:
        subjects["toxicity-minilm"] = bench.subjects.minilm()
    servers = {"one process": bench.services.glassbox("off", "one process", telemetry=QUIET, env=ONE_THREAD)}
    children = []
    for count, name in enumerate(("one worker", "two workers"), 1):
        env = {**ONE_THREAD, "GLASSBOX__SERVER__ROLE": "api", "GLASSBOX__REDIS__PREFIX": f"{count}:",
               "GLASSBOX__REDIS__URL": f"redis://{bench.services.redis().address}"}
        children += [worker(bench, f"{name} {number}", env) for number in range(count)]
        servers[name] = bench.services.glassbox("off", name, telemetry=QUIET, env=env)
    results = {}
    for title, subject in subjects.items():
        runs = {name: bench.drive(server, subject, CONNECTIONS) for name, server in servers.items()}
        for run in runs.values():
            run()
        results[title] = closed.alternate(bench.options.rounds, runs)
    for server in servers.values():
        bench.services.stop(server)
    for child in children:
        child.stop()
    return {"runs": results, "pairs": [{"subject": title, "what": ours, "against": theirs, **ratio(runs[ours], runs[theirs])}
                                       for title, runs in results.items() for ours, theirs in PAIRS]}


def worker(bench, name, env):
    """A model worker, ready."""
    port = free_port()
    own = {**env, "ORT_DYLIB_PATH": str(bench.services.library()), "GLASSBOX__TELEMETRY__LOG_FORMAT": "json",
           "GLASSBOX__MODELS__REPOSITORY": str(bench.services.models)}
    child = bench.services.children.start([bench.services.binary(), "worker", "--listen", f"127.0.0.1:{port}"],
                                          log=bench.folder / f"{name.replace(' ', '-')}.log", env=own)
    child.wait_until(lambda: client.get_status(f"127.0.0.1:{port}", "/readyz") == 200)
    return child


def tables(data):
    lines = ["| uncached, 32 connections, one thread per process | | against | ratio | in the rounds |", "|---|---|---|---|---|"]
    for pair in data["pairs"]:
        lines.append(f"| {pair['subject']} | {pair['what']} | {pair['against']} | **{number(pair['median'])}** | "
                     f"{number(pair['lowest'])} to {number(pair['highest'])} |")
    runs = ["| | | predictions/s | p50 ms | p99 ms |", "|---|---|---|---|---|"]
    for title, results in data["runs"].items():
        for name, rounds in results.items():
            cells = [number(median(rounds, field)) for field in ("per_second", "p50_ms", "p99_ms")]
            runs.append(f"| {title} | {name} | {' | '.join(cells)} |")
    return {"split": lines, "split-runs": runs}
