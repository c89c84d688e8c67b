"""Writes results, and the tables of BENCHMARK.md between their markers."""

import json
import re
import subprocess

from .services import PYTHON, ROOT

RESULTS = ROOT / "benchmark/results"
DOCUMENT = ROOT / "BENCHMARK.md"


def keep(name, machine, options, data):
    """One file per part, with what is needed to read it."""
    RESULTS.mkdir(exist_ok=True)
    document = {"part": name, **machine, "options": options, "data": data}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def fill(tables):
    """Puts each table between its markers; a table without a place there is a mistake."""
    text = DOCUMENT.read_text()
    for name, lines in tables.items():
        pattern = re.compile(rf"(<!-- bench:{re.escape(name)} -->\n).*?(<!-- /bench:{re.escape(name)} -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"BENCHMARK.md has no place for the table '{name}'")
        content = "".join(f"{line}\n" for line in lines)
        text = pattern.sub(lambda found: found[1] + content + found[2], text)
    DOCUMENT.write_text(text)


def where(machine, options):
    """One line under a heading: what its tables were measured on, and how."""
    versions = machine["versions"]
    python = f", FastAPI {versions['python fastapi']} on Python {versions['python']}" if "python" in versions else ""
    return [f"*{machine['date']}, revision {machine['revision']}: {machine['cores']} cores of {machine['cpu']}, Linux "
            f"{machine['kernel']}, ONNX Runtime {versions['onnxruntime']}{python}; {options['rounds']} rounds of "
            f"{options['seconds']} s, load average before: {machine['load_before']}.*"]


def draw():
    """Charts of all results that there are. Drawn by the Python that has matplotlib."""
    if not PYTHON.exists():
        print("No charts: scripts/setup-bench.sh did not run")
        return
    subprocess.run([PYTHON, "-m", "harness.charts"], cwd=ROOT / "benchmark", check=True, timeout=600)
