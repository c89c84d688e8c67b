#!/usr/bin/env python3
"""Runs all node tests of the package onnx against the release binary, and writes what came out.

    scripts/onnx-nodes.py --target FOLDER   FOLDER is cargo's; docs/onnx-nodes.md says what could not be asked for, and why

Ends with 1 when a case is answered otherwise than recorded though Python's onnxruntime answers it so.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HOME = pathlib.Path(__file__).resolve().parent.parent
CASES = HOME / "tests/it/python/node_cases.py"
REPORT = HOME / "docs/onnx-nodes.md"
PACKAGES = HOME / ".python"

# Models of one server at the same time.
PARTS = 10

# For the models of one part to be loaded, in seconds.
LONGEST_START = 120


def python(*arguments):
    environment = os.environ | {"PYTHONPATH": str(PACKAGES)}
    command = [sys.executable, str(CASES), *map(str, arguments)]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def part(binary, number):
    with tempfile.TemporaryDirectory() as folder:
        results = python("make", folder, number, PARTS)
        address = f"127.0.0.1:{free_port()}"
        options = ["--config", str(HOME / "config/development.toml")]
        environment = os.environ | {
            "GLASSBOX__SERVER__LISTEN": address,
            "GLASSBOX__MODELS__REPOSITORY": folder,
            "GLASSBOX__MODELS__DEFAULT": "",
            "GLASSBOX__TELEMETRY__LOG_FILTER": "off",
        }
        server = subprocess.Popen([binary, "serve", *options], cwd=HOME, env=environment, stdout=subprocess.DEVNULL)
        try:
            wait_until_loaded(server, address)
            return results + python("ask", address, folder)
        finally:
            server.terminate()
            server.wait(30)


def wait_until_loaded(server, address):
    end = time.monotonic() + LONGEST_START
    while time.monotonic() < end and server.poll() is None:
        try:
            request = urllib.request.Request(f"http://{address}/v2/repository/index", b"")
            with urllib.request.urlopen(request) as answer:
                if all(entry["state"] != "LOADING" for entry in json.load(answer)):
                    return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.1)
    sys.exit(f"the server at {address} did not load its models within {LONGEST_START} s")


def write(results):
    same = sum(result["result"] == "same" for result in results)
    exceptions = collections.defaultdict(list)
    for result in results:
        if result["result"] == "exception":
            reason = re.sub(r"\s+", " ", result["reason"]).replace("|", "\\|")
            exceptions[reason].append(result["case"])
    lines = [
        "# The node tests of ONNX",
        "",
        "Written by `make onnx-nodes`: every case of `onnx.backend.test.case.node` is served as a model of its own and asked",
        "for what it recorded, over REST with binary tensors and over gRPC.",
        "",
        f"{same} of {len(results)} cases are answered as recorded, within their own tolerances. The others say nothing about a",
        "server: their values are no plain tensors of the protocol, or Python's onnxruntime itself does not give what is",
        "recorded, as its words below say.",
        "",
        "| why not | cases |",
        "|---|---|",
    ]
    for reason, cases in sorted(exceptions.items()):
        lines.append(f"| {reason} | {', '.join(sorted(cases))} |")
    REPORT.write_text("\n".join(lines) + "\n")
    return same


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="target", help="cargo's folder")
    binary = HOME / parser.parse_args().target / "release/glassbox"
    results = []
    for number in range(PARTS):
        results += part(binary, number)
        print(f"part {number + 1} of {PARTS}: {len(results)} cases", flush=True)
    same = write(results)
    different = [result for result in results if result["result"] == "different"]
    for result in different:
        print(f"{result['case']}: {result['reason']}")
    print(f"{same} of {len(results)} cases are answered as recorded; {REPORT.relative_to(HOME)} lists the others")
    sys.exit(bool(different))


main()
