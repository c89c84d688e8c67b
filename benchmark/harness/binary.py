"""A megabyte of FP32 in binary, in and out, beside the bare handler, and beside one whose heap keeps what it frees."""

import http.client
import random
import shutil
import struct

from . import bodies, closed
from .ratios import median, ratio
from .services import ROOT
from .targets import number

# 2 MB for each call, in and out: 32 connections would fill `bodies_limit`, and be refused.
CONNECTIONS, NUMBERS = 8, 250_000
# With these, glibc keeps pieces of a megabyte for the next request.
LARGE = {"MALLOC_MMAP_THRESHOLD_": "4194304", "MALLOC_TRIM_THRESHOLD_": "4194304"}
WANTED = 0.9
PAIRS = [("glassbox", "ceiling"), ("glassbox", "ceiling, large thresholds")]


def measure(bench):
    """`doubler`, which does nothing that would hide what moving the bytes costs."""
    home = bench.folder / "binary-models"
    shutil.copytree(ROOT / "model/doubler", home / "doubler")
    services = bench.services
    servers = {
        "glassbox": services.glassbox("off", "binary", home),
        "ceiling": services.ceiling("binary"),
        "ceiling, large thresholds": services.ceiling("binary large", env=LARGE),
    }
    generator = random.Random(5)
    values = [generator.gauss(0, 1) for _ in range(NUMBERS)]
    subject = bench.subjects.binary("binary", "doubler", head(), pack(values))
    for server in servers.values():
        check(server, subject, pack([2 * value for value in values]))
    runs = {name: bench.drive(server, subject, CONNECTIONS) for name, server in servers.items()}
    for run in runs.values():
        run()
    results = closed.alternate(bench.options.rounds, runs)
    for server in servers.values():
        services.stop(server)
    return {"bytes": 4 * NUMBERS, "runs": results, "pairs": [
        {"what": ours, "against": theirs, "wanted": WANTED, **ratio(results[ours], results[theirs]),
         "by_cpu": ratio(results[theirs], results[ours], "cpu_us_per_request")} for ours, theirs in PAIRS]}


def head():
    """The JSON before the tensor."""
    tensor = {"name": "x", "shape": [1, NUMBERS], "datatype": "FP32", "parameters": {"binary_data_size": 4 * NUMBERS}}
    return bodies.dump({"parameters": {"binary_data_output": True}, "inputs": [tensor]}).encode()


def pack(values):
    return struct.pack(f"<{len(values)}f", *values)


def check(service, subject, expected):
    """Ends the benchmark when the tensor in the answer is not `expected`, to the bit."""
    connection = http.client.HTTPConnection(service.address, timeout=30)
    headers = {"Content-Type": "application/octet-stream", "X-API-Key": service.key,
               "Inference-Header-Content-Length": str(subject.json_length)}
    connection.request("POST", service.path(subject), subject.file.read_bytes(), headers)
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if response.status != 200 or answer[int(response.headers["Inference-Header-Content-Length"]):] != expected:
        raise SystemExit(f"{service.name} answers {response.status} to a tensor in binary: {answer[:500]!r}")


def tables(data):
    lines = ["| 1 MB of FP32 in and out, 8 connections | against | ratio | in the rounds | wanted | "
             "| the same by server CPU per request |", "|---|---|---|---|---|---|---|"]
    for pair in data["pairs"]:
        reached, by_cpu = "reached" if pair["median"] >= pair["wanted"] else "missed", pair["by_cpu"]
        lines.append(f"| {pair['what']} | {pair['against']} | **{number(pair['median'])}** | {number(pair['lowest'])} to "
                     f"{number(pair['highest'])} | ≥ {pair['wanted']} | {reached} | {number(by_cpu['median'])} "
                     f"({number(by_cpu['lowest'])} to {number(by_cpu['highest'])}) |")
    runs = ["| | predictions/s | p50 ms | p99 ms | server CPU per request, µs | memory MB, first and last round |",
            "|---|---|---|---|---|---|"]
    for name, results in data["runs"].items():
        cells = [number(median(results, field)) for field in ("per_second", "p50_ms", "p99_ms", "cpu_us_per_request")]
        cells.append(f"{results[0]['pss_mb']:.1f}, {results[-1]['pss_mb']:.1f}")
        runs.append(f"| {name} | {' | '.join(cells)} |")
    return {"binary": lines, "binary-runs": runs}
