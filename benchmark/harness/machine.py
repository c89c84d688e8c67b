"""Where, when and with what a run was made, so that its figures can be read later."""

import datetime
import os
import platform
import re
import subprocess

from .services import PYTHON, ROOT


def describe():
    """Machine, versions, date, revision."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "revision": first_line("git", "-C", ROOT, "describe", "--always", "--dirty"),
        "cpu": cpu_model(), "cores": len(os.sched_getaffinity(0)), "memory_gb": memory_gb(),
        "kernel": platform.release(), "load_before": round(os.getloadavg()[0], 2),
        "versions": {
            "glassbox": match(r'\[package\][^[]*?version = "([^"]+)"', ROOT / "Cargo.toml"),
            "rustc": first_line("rustc", "--version"), "wrk": wrk_version(),
            "redis": first_line("redis-server", "--version"),
            "onnxruntime": match(r"^onnxruntime==([\d.]+)", ROOT / "scripts/onnxruntime.txt"),
            **python_versions(),
        },
    }


def first_line(*command):
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=20)
    except OSError:
        return "unknown"
    return (done.stdout or done.stderr).strip().splitlines()[0] if (done.stdout or done.stderr).strip() else "unknown"


def wrk_version():
    return first_line("wrk", "--version").split("Copyright")[0].strip()


def cpu_model():
    found = match(r"model name\s*:\s*(.+)", "/proc/cpuinfo")
    return found if found != "unknown" else platform.machine()


def memory_gb():
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)


def match(pattern, path):
    with open(path) as file:
        found = re.search(pattern, file.read(), re.MULTILINE)
    return found[1].strip() if found else "unknown"


def python_versions():
    """Of the service in Python."""
    if not PYTHON.exists():
        return {}
    names = ("fastapi", "uvicorn", "uvloop", "pydantic", "slowapi", "redis")
    script = f"import importlib.metadata as m, platform; print(platform.python_version(), *(m.version(n) for n in {names!r}))"
    return dict(zip(("python", *(f"python {name}" for name in names)), first_line(PYTHON, "-c", script).split()))
