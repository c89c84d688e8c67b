"""Charts of what stands in benchmark/results/: python -m harness.charts, in benchmark/. The same results give the same
bytes."""

import json
import statistics

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plot  # noqa: E402 - the backend must be chosen before

from .report import RESULTS  # noqa: E402

COLOURS = {"glassbox": "#0b7285", "ceiling": "#868e96", "fastapi": "#e8590c", "raw": "#868e96"}


def main():
    plot.rcParams.update({"svg.hashsalt": "glassbox", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False,
                          "axes.spines.right": False})
    for name, draw in {"targets": targets, "connections": connections, "rates": rates, "scaling": scaling,
                       "growth": growth}.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            draw(json.loads(path.read_text())["data"])


def colour(service):
    return COLOURS[service.split(",")[0].split(" ")[0]]


def save(figure, name):
    figure.tight_layout()
    figure.savefig(RESULTS / f"{name}.svg", metadata={"Date": None})
    plot.close(figure)


def targets(data):
    """Predictions per second of each service on each subject."""
    runs = {name: statistics.median(run["per_second"] for run in rounds) for name, rounds in data["runs"].items()}
    subjects = [name for name in ("hit", "linear_regression", "toxicity", "toxicity-minilm") if f"glassbox {name}" in runs]
    figure, axes = plot.subplots(1, len(subjects), figsize=(2.6 * len(subjects), 2.8), squeeze=False)
    for axis, subject in zip(axes[0], subjects):
        bars = {service: runs[f"{service} {subject}"] for service in COLOURS if f"{service} {subject}" in runs}
        axis.bar(list(bars), list(bars.values()), color=[colour(service) for service in bars])
        axis.set_title("cache hit" if subject == "hit" else subject)
        axis.set_ylabel("predictions/s" if axis is axes[0][0] else "")
    save(figure, "targets")


def connections(data):
    """Predictions per second and p99 by number of connections."""
    subjects = list(dict.fromkeys(entry["subject"] for entry in data))
    figure, axes = plot.subplots(2, len(subjects), figsize=(3 * len(subjects), 4.6), squeeze=False)
    for row, (field, label) in enumerate((("per_second", "predictions/s"), ("p99_ms", "p99, ms"))):
        for axis, subject in zip(axes[row], subjects):
            for index, service in enumerate(dict.fromkeys(e["service"] for e in data if e["subject"] == subject)):
                points = [(e["connections"], statistics.median(run[field] for run in e["runs"])) for e in data
                          if (e["subject"], e["service"]) == (subject, service)]
                axis.plot(*zip(*points), marker="o", markersize=3, color=colour(service), label=service,
                          linestyle=("-", "--", ":", "-.")[index % 4])
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.set_title(subject if row == 0 else "")
            axis.set_ylabel(label if axis is axes[row][0] else "")
            axis.set_xlabel("connections" if row else "")
            axis.legend(fontsize=6, frameon=False)
    save(figure, "connections")


def rates(data):
    """p50, p99 and p99.9 at a fixed rate."""
    kinds = list(dict.fromkeys((entry["subject"], entry["what"]) for entry in data))
    figure, axes = plot.subplots(1, len(kinds), figsize=(2.8 * len(kinds), 2.8), squeeze=False)
    for axis, kind in zip(axes[0], kinds):
        for entry in (entry for entry in data if (entry["subject"], entry["what"]) == kind):
            values = [statistics.median(run[field] for run in entry["runs"]) for field in ("p50_ms", "p99_ms", "p999_ms")]
            axis.plot(("p50", "p99", "p99.9"), values, marker="o", markersize=3, color=colour(entry["service"]),
                      label=entry["service"])
        axis.set_yscale("log")
        axis.set_title("\n".join(kind), fontsize=8)
        axis.set_ylabel("ms" if axis is axes[0][0] else "")
        axis.legend(fontsize=6, frameon=False)
    save(figure, "rates")


def scaling(data):
    """Throughput by size, one panel per dimension."""
    figure, axes = plot.subplots(1, len(data), figsize=(2.6 * len(data), 2.6), squeeze=False)
    for axis, (name, entries) in zip(axes[0], data.items()):
        measured = [entry for entry in entries if "per_second" in entry]
        field = "mb_per_second" if name == "payload" else "per_second"
        for model in dict.fromkeys(entry.get("model", "") for entry in measured):
            points = [(entry["step"], entry[field]) for entry in measured if entry.get("model", "") == model]
            axis.plot(*zip(*points), marker="o", markersize=3, label=model, color=COLOURS["glassbox"],
                      linestyle="--" if model == "toxicity" else "-")
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_title({"entries": "known answers", "payload": "bytes"}.get(name, name))
        axis.set_ylabel("MB/s" if name == "payload" else "predictions/s" if axis is axes[0][0] else "")
    save(figure, "scaling")


def growth(data):
    """Resident memory over time."""
    figure, axis = plot.subplots(figsize=(6, 2.4))
    axis.plot([x / 60 for x, _ in data["points"]], [y for _, y in data["points"]], color=COLOURS["glassbox"], linewidth=1)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("minutes")
    axis.set_ylabel("resident memory, MB")
    save(figure, "growth")


if __name__ == "__main__":
    main()
