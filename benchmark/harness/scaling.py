"""What becomes of throughput and memory as batches, models, keys, known answers and bodies grow."""

import hashlib
import shutil

from . import bodies, client, closed
from .services import PLAN, ROOT
from .targets import number

CONNECTIONS = 8


def measure(bench):
    """Each dimension by itself, one step after the other."""
    return {"batch": batch(bench), "models": models(bench), "keys": keys(bench), "entries": entries(bench),
            "payload": payload(bench)}


def drive(bench, service, subject, keys_file=None):
    closed.drive(service, subject, CONNECTIONS, 1, keys_file)
    return closed.drive(service, subject, CONNECTIONS, bench.options.seconds, keys_file)


def batch(bench):
    """Items per request. Four keys share the load: one may not ask for more than a million items per second."""
    path, shared = write_keys(bench, 4)
    service = bench.services.glassbox("off", "batch", keys=(path, shared.read_text().split()[0]))
    steps = [(size, model) for model in ("linear_regression", "toxicity") for size in (1, 2, 4, 8, 16, 32, 64, 128, 256)]
    return [{"step": size, "model": model, **drive(bench, service, getattr(bench.subjects, model)(size), shared)}
            for size, model in steps]


def models(bench):
    """Copies of linear_regression under names of their own, each asked in turn."""
    results = []
    for count in (1, 10, 100):
        home = bench.folder / f"models-{count}"
        for name in (names := [f"copy_{index:03}" for index in range(count)]):
            shutil.copytree(ROOT / "model/linear_regression", home / name)
            manifest = (home / name / "model.toml").read_text()
            (home / name / "model.toml").write_text(manifest.replace('name = "linear_regression"', f'name = "{name}"'))
        rows = bench.subjects.rows
        lines = [bodies.dump({"model": names[index % count], "input": row}) for index, row in enumerate(rows)]
        service = bench.services.glassbox("off", f"models-{count}", home)
        subject = bench.subjects.of(f"models {count}", lines)
        results.append({"step": count, "start_ms": service.start_ms, **drive(bench, service, subject)})
        bench.services.stop(service)
    return results


def keys(bench):
    """Keys, each used in turn. A file of more than the server keeps is refused, which is an answer too."""
    results = []
    for count in (1, 100, 10_000) + (100_000,) * bench.options.full:
        path, secrets = write_keys(bench, count)
        try:
            key = secrets.read_text().split()[0]
            service = bench.services.glassbox("off", f"keys-{count}", keys=(path, key))
        except SystemExit as error:
            bench.say(f"  {count} keys are refused")
            results.append({"step": count, "refused": str(error).splitlines()[-1][-200:]})
            continue
        start_ms = service.start_ms
        results.append({"step": count, "start_ms": start_ms, **drive(bench, service, bench.subjects.linear_regression(), secrets)})
        bench.services.stop(service)
    return results


def write_keys(bench, count):
    """A file of keys as `glassbox keys create` would write it, and a file with the keys themselves."""
    path, secrets = bench.folder / f"many-keys-{count}.toml", bench.folder / f"many-keys-{count}.key"
    entries, shown = [PLAN], []
    for index in range(count):
        identifier = f"{index:012x}"
        secret = hashlib.sha256(f"bench {index}".encode()).hexdigest()[:SECRET_CHARS]
        digest = hashlib.sha256(secret.encode()).hexdigest()
        shown.append(f"gb_{identifier}_{secret}")
        entries.append(f'[[keys]]\nid = "{identifier}"\nname = "key {index}"\nsecret_sha256 = "{digest}"\n'
                       'scopes = ["predict"]\nplan = "bench"\n')
    path.write_text("\n".join(entries))
    path.chmod(0o600)
    secrets.write_text("\n".join(shown) + "\n")
    return path, secrets


# 24 bytes in hexadecimal digits.
SECRET_CHARS = 48


def entries(bench):
    """Answers that are kept: filled in batches, then asked for one by one."""
    results = []
    service = bench.services.glassbox("memory", "entries", capacity="4GiB")
    filled = 0
    for count in (1, 1000, 100_000) + (1_000_000,) * bench.options.full:
        while filled < count:
            size = min(1000, count - filled)
            body = bodies.dump({"model": "linear_regression", "inputs": [row(filled + index) for index in range(size)]})
            client.post(service.address, "/v1/predict_batch", [body], service.key)
            filled += size
        step = max(1, count // 4000)
        lines = [bodies.dump({"model": "linear_regression", "input": row(index)}) for index in range(0, count, step)]
        results.append({"step": count, **drive(bench, service, bench.subjects.of(f"entries {count}", lines[:4000]))})
    bench.services.stop(service)
    return results


def row(index):
    """A row of numbers like no other."""
    return [index / 1e6, 0.05, -0.04, 0.03, 0.02, -0.01, 0.0, 0.04, -0.02, 0.01]


def payload(bench):
    """Lists of numbers that come back doubled: bytes in, parsed, run, written, bytes out."""
    home = bench.folder / "payload-models"
    shutil.copytree(ROOT / "model/doubler", home / "doubler")
    service, results = bench.services.glassbox("off", "payload", home), []
    for size in (10, 100, 1000, 10_000, 100_000, 1_000_000):
        # A number takes six bytes: 0.123 and a comma.
        count = max(1, size // 6)
        lines = [bodies.dump({"model": "doubler", "input": [(100 + (seed + index * 7) % 900) / 1000 for index in range(count)]})
                 for seed in range(20)]
        result = drive(bench, service, bench.subjects.of(f"payload {size}", lines))
        results.append({"step": size, "mb_per_second": round(result["per_second"] * len(lines[0]) / 1e6, 2), **result})
    bench.services.stop(service)
    return results


def tables(data):
    """One table per dimension."""
    def table(head, rows):
        return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]

    def cells(entry, *fields):
        return [f"{entry['step']:,}", *(number(entry[field]) for field in fields)]

    of_model = {model: {e["step"]: e for e in data["batch"] if e["model"] == model} for model in
                dict.fromkeys(e["model"] for e in data["batch"])}
    sizes = sorted({e["step"] for e in data["batch"]})
    keys = [cells(e, "per_second", "cpu_us_per_request", "pss_mb", "start_ms") if "per_second" in e else
            [f"{e['step']:,}", "refused at the start: more than the server keeps", "", "", ""] for e in data["keys"]]
    fields, head = ("per_second", "cpu_us_per_request", "pss_mb"), ["predictions/s", "CPU per request, µs", "memory MB"]
    return {
        "scaling-batch": table(["predictions/s at batch", *map(str, sizes)],
                               [[model, *(number(of[size]["per_second"]) for size in sizes)] for model, of in of_model.items()]),
        "scaling-models": table(["models", *head, "start ms"], [cells(e, *fields, "start_ms") for e in data["models"]]),
        "scaling-keys": table(["keys", *head, "start ms"], keys),
        "scaling-entries": table(["known answers", *head], [cells(e, *fields) for e in data["entries"]]),
        "scaling-payload": table(["bytes", *head, "MB/s in"], [cells(e, *fields, "mb_per_second") for e in data["payload"]]),
    }
