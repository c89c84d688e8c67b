"""From exec to a 200 on /readyz with all bundled models, and what the memory is made of."""

import statistics

from . import client
from .processes import free_port
from .services import ROOT


def measure(bench):
    """The server with every bundled model, one start after the other; the Python service with the benchmark's two."""
    runs = 40 if bench.options.full else 15
    # The first start reads the files from the disk; the others find them in the page cache, as a restart does.
    starts = [start(bench) for _ in range(runs + 1)]
    result = {"glassbox_ms": [child_ms for _, child_ms in starts[1:]], "first_ms": starts[0][1], "memory": starts[-1][0]}
    if bench.has_python:
        result["fastapi_ms"] = []
        for _ in range(3):
            service = bench.services.fastapi(threads=1)
            result["fastapi_ms"].append(service.start_ms)
            bench.services.stop(service)
    return result


def start(bench):
    port = free_port()
    child = bench.services.children.start(
        [bench.services.binary(), "serve", "--config", "config/development.toml", "--listen", f"127.0.0.1:{port}"],
        log=bench.folder / "startup.log", cwd=ROOT)
    milliseconds = child.wait_until(lambda: client.get_status(f"127.0.0.1:{port}", "/readyz") == 200, 60)
    parts = memory(child.process.pid)
    child.stop()
    return parts, milliseconds


def memory(pid):
    """Megabytes of resident memory by what they are."""
    parts = {}
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            first = line.split(maxsplit=1)[0]
            if "-" in first:
                # address, permissions, offset, device, inode, then a path for files and for a few special mappings
                fields = line.split(maxsplit=5)
                name = part_of(fields[5].strip() if len(fields) > 5 else "")
            elif first == "Rss:":
                parts[name] = parts.get(name, 0) + int(line.split()[1]) / 1024
    return parts


def part_of(path):
    if "onnxruntime" in path:
        return "pages of ONNX Runtime's library"
    if path.startswith("/"):
        return "pages of the binary and of the system's libraries"
    return "heap, stacks and loaded models"


def tables(data):
    times = data["glassbox_ms"]
    lines = ["| figure | value |", "|---|---|",
             f"| exec to 200 on `/readyz`, all bundled models loaded, warm and verified | median {statistics.median(times):.0f} ms, "
             f"minimum {min(times):.0f}, maximum {max(times):.0f} ({len(times)} starts; the first one {data['first_ms']:.0f}) |"]
    if "fastapi_ms" in data:
        lines.append(f"| the same of the FastAPI service with two models | median {statistics.median(data['fastapi_ms']):.0f} ms |")
    lines.append(f"| resident memory when idle | {sum(data['memory'].values()):.0f} MB |")
    lines += [f"| of which {name} | {size:.1f} MB |" for name, size in sorted(data["memory"].items(), key=lambda part: -part[1])]
    return {"startup": lines}
