"""Memory over time, while lengths, shapes and batch sizes change with every request: does it grow?"""

import json
import random
import shutil
import time

from . import bodies
from .ratios import slope
from .services import ROOT

# Until then allocators and the cache fill up; growth after it is growth.
WARM_UP = 0.3


def measure(bench):
    """Singles and batches at the same time, from two wrk; resident memory once a second."""
    seconds = round(bench.options.minutes * 60)
    service = server(bench)
    clients = [bench.services.children.start(
        ["wrk", "-t", "1", "-c", "8", "-d", f"{seconds}s", "--timeout", "20s", "-s", ROOT / "benchmark/wrk.lua",
         f"http://{service.address}{path}"], log=bench.folder / f"growth-{path.rpartition('/')[2]}.log",
        env={"BENCH_BODIES": str(file), "BENCH_KEYS": str(bench.folder / "growth.key")})
        for path, file in mixed_bodies(bench, service)]
    points, started = [], time.monotonic()
    while (now := time.monotonic() - started) < seconds - 1:
        points.append((round(now, 1), service.child.memory_mb()["rss_mb"]))
        service.child.forget_log()
        time.sleep(max(0.0, len(points) - now))
    requests = 0
    for child in clients:
        child.process.wait(90)
        words = child.tail()
        found = words.partition("RESULT ")[2]
        if not found or (result := json.loads(found.splitlines()[0]))["failed"]:
            raise SystemExit(f"requests failed:\n{words}")
        requests += result["requests"]
    bench.services.stop(service)
    late = [(x / 60, y) for x, y in points if x > seconds * WARM_UP]
    return {"minutes": bench.options.minutes, "requests": requests, "points": points,
            "slope_mb_per_minute": round(slope(late), 4), "from_mb": late[0][1], "to_mb": late[-1][1],
            "highest_mb": max(y for _, y in points)}


def server(bench):
    """With a cache so small that it is full at once and evicts all the time."""
    models = bench.folder / "growth-models"
    shutil.copytree(bench.services.models, models)
    shutil.copytree(ROOT / "model/doubler", models / "doubler")
    return bench.services.glassbox("memory", "growth", models, capacity="4MiB")


def mixed_bodies(bench, service):
    """Lists of 1 to 3000 numbers, texts of 1 to 600 words, batches of 1 to 64 items."""
    generator = random.Random(3)
    texts, rows = bench.subjects.texts, bench.subjects.rows
    (bench.folder / "growth.key").write_text(service.key + "\n")

    def long_text():
        return " ".join(" ".join(generator.choices(texts, k=40)).split()[:generator.randint(1, 600)])

    def numbers():
        return [round(generator.random(), 3) for _ in range(generator.randint(1, 3000))]

    singles, batches = [], []
    for _ in range(1500):
        singles.append({"model": "doubler", "input": numbers()})
        singles.append({"model": "toxicity", "text": long_text()})
        singles.append({"model": "linear_regression", "input": generator.choice(rows)})
        if bench.minilm:
            singles.append({"model": "toxicity-minilm", "text": long_text()[:generator.randint(1, 500)] or "a"})
    for _ in range(500):
        batches.append({"model": "toxicity", "texts": [long_text() for _ in range(generator.randint(1, 12))]})
        batches.append({"model": "linear_regression", "inputs": generator.choices(rows, k=generator.randint(1, 64))})
        batches.append({"model": "doubler", "inputs": [numbers() for _ in range(generator.randint(1, 4))]})
        if bench.minilm:
            batches.append({"model": "toxicity-minilm", "texts": generator.choices(texts, k=generator.randint(1, 16))})
    return [(path, bodies.write(bench.folder / name, map(bodies.dump, items))) for path, name, items in
            (("/v1/predict", "growth-singles.bodies", singles), ("/v1/predict_batch", "growth-batches.bodies", batches))]


def tables(data):
    return {"growth": [
        "| figure | value |", "|---|---|",
        f"| load with changing lengths, shapes and batch sizes | {data['minutes']} min, {data['requests']:,} requests |",
        f"| slope of resident memory after the first {WARM_UP:.0%} | **{data['slope_mb_per_minute']:+.3f} MB/min** |",
        f"| resident memory then, and at the end | {data['from_mb']:.1f} MB, {data['to_mb']:.1f} MB |",
        f"| highest | {data['highest_mb']:.1f} MB |",
    ]}
