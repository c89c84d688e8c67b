"""What seeing into the server costs: the log, traces, and a collector that misbehaves."""

import sys
from pathlib import Path

from . import closed
from .processes import free_port
from .ratios import median, ratio
from .targets import number

CONNECTIONS = 32
LOG = 'log_filter = "info"'
TRACES = f'{LOG}\notlp_protocol = "http"\nsample_ratio = 0.01\notlp_endpoint = '

# What is compared with what, and how much is wanted.
PAIRS = [("log and traces of 1 %", "neither", 0.85), ("traces, the collector is down", "log alone", 0.97),
         ("traces, the collector is frozen", "log alone", 0.97), ("traces, the collector is slow", "log alone", 0.97)]


def measure(bench):
    """Uncached linear_regression, the shortest thing that the server does: whatever is beside it weighs most there."""
    subject = bench.subjects.linear_regression()
    settings = {"neither": 'log_filter = "off"', "log alone": LOG,
                "log and traces of 1 %": TRACES + endpoint(bench, "takes"),
                "traces, the collector is down": TRACES + f'"http://127.0.0.1:{free_port()}"',
                "traces, the collector is frozen": TRACES + endpoint(bench, "frozen"),
                "traces, the collector is slow": TRACES + endpoint(bench, "slow")}
    servers = {name: bench.services.glassbox("off", name, telemetry=lines) for name, lines in settings.items()}
    runs = {name: bench.drive(server, subject, CONNECTIONS) for name, server in servers.items()}
    for run in runs.values():
        run()
    results = closed.alternate(bench.options.rounds, runs)
    for server in servers.values():
        bench.services.stop(server)
    return {"runs": results, "pairs": [{"what": ours, "against": theirs, "wanted": wanted,
                                        **ratio(results[ours], results[theirs])} for ours, theirs, wanted in PAIRS]}


def endpoint(bench, mode):
    """Starts a collector, and tells where, as TOML."""
    port = free_port()
    child = bench.services.children.start([sys.executable, Path(__file__).with_name("collector.py"), port, mode],
                                          log=bench.folder / f"collector-{mode}.log")
    child.wait_until(lambda: "listening" in Path(child.log_path).read_text())
    return f'"http://127.0.0.1:{port}"'


def tables(data):
    lines = ["| uncached linear_regression, 32 connections | against | ratio | in the rounds | wanted | |", "|---|---|---|---|---|---|"]
    for pair in data["pairs"]:
        reached = "reached" if pair["median"] >= pair["wanted"] else "missed"
        lines.append(f"| {pair['what']} | {pair['against']} | **{number(pair['median'])}** | {number(pair['lowest'])} to "
                     f"{number(pair['highest'])} | ≥ {pair['wanted']} | {reached} |")
    runs = ["| | predictions/s | p99 ms | server CPU per request, µs | memory MB, first and last round |", "|---|---|---|---|---|"]
    for name, results in data["runs"].items():
        cells = [number(median(results, field)) for field in ("per_second", "p99_ms", "cpu_us_per_request")]
        cells.append(f"{results[0]['pss_mb']:.1f}, {results[-1]['pss_mb']:.1f}")
        runs.append(f"| {name} | {' | '.join(cells)} |")
    return {"observability": lines, "observability-runs": runs}
