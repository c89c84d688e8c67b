#!/usr/bin/env python3
"""How long the release server takes from exec to a 200 on /readyz with all bundled models, and what its memory is made of.

Usage: benchmark/startup.py [--binary target/release/glassbox] [--runs 15]
Starts the server on a free port of 127.0.0.1, one run after the other, and prints the median with minimum and maximum.
Memory is read from /proc, so that part is for Linux only. Uses nothing but Python's standard library.
"""

import argparse
import http.client
import os
import socket
import statistics
import subprocess
import time


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", default="target/release/glassbox")
    arguments.add_argument("--runs", type=int, default=15)
    options = arguments.parse_args()

    # The first start reads the files from the disk; the others find them in the page cache, as a restart does.
    cold = start(options.binary)
    stop(cold.process)
    times = []
    for run in range(options.runs):
        server = start(options.binary)
        times.append(server.milliseconds)
        if run == options.runs - 1 and os.path.exists("/proc/self/smaps"):
            memory(server.process.pid)
        stop(server.process)
    print(f"exec to 200 on /readyz: median {statistics.median(times):.0f} ms, minimum {min(times):.0f}, "
          f"maximum {max(times):.0f} ({options.runs} runs on {os.cpu_count()} cores; the first one took "
          f"{cold.milliseconds:.0f})")


class start:  # noqa: N801 - reads as the verb that it is
    """A started server that is ready."""

    def __init__(self, binary):
        port = free_port()
        command = [binary, "serve", "--config", "config/development.toml", "--listen", f"127.0.0.1:{port}"]
        started = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not ready(port):
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended with exit code {self.process.returncode}")
            if time.perf_counter() - started > 60:
                self.process.kill()
                raise SystemExit("the server is not ready after 60 s")
            time.sleep(0.0005)
        self.milliseconds = (time.perf_counter() - started) * 1000


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ready(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def stop(process):
    process.terminate()
    process.wait(timeout=30)


def memory(pid):
    """Prints the resident memory by what it is made of."""
    parts = {}
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            first = line.split(maxsplit=1)[0]
            if "-" in first:
                # address, permissions, offset, device, inode, then a path for files and for a few special mappings
                fields = line.split(maxsplit=5)
                name = part_of(fields[5].strip() if len(fields) > 5 else "")
            elif first == "Rss:":
                parts[name] = parts.get(name, 0) + int(line.split()[1])
    print(f"resident memory when idle: {sum(parts.values()) / 1024:.0f} MB")
    for name, kilobytes in sorted(parts.items(), key=lambda part: -part[1]):
        print(f"  {kilobytes / 1024:5.1f} MB  {name}")


def part_of(path):
    if "onnxruntime" in path:
        return "ONNX Runtime's library, the pages in use"
    if path.endswith("glassbox"):
        return "the glassbox binary, the pages in use"
    if path.startswith("/"):
        return "the system's libraries"
    return "heap, stacks and loaded models"


if __name__ == "__main__":
    main()
