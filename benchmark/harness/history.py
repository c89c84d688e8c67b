"""What keeping predictions costs: in SQLite, in PostgreSQL, in a PostgreSQL that is frozen; and what a page costs."""

import os
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import time
import urllib.request
from pathlib import Path

from . import closed
from .processes import free_port, stat
from .ratios import median, ratio
from .targets import number

CONNECTIONS = 32
SECTION = 'log_filter = "info"\n[history]\nflush_interval = "500ms"\nretain_for = ""\nretain_rows = 0\nspool_limit = "2GiB"\n'

# The shortest thing that the server does, beside which a row weighs most; and the model of the README.
MODELS = ("linear_regression", "toxicity")

# What is compared with having none, and how much is wanted.
PAIRS = [("SQLite", 0.9), ("PostgreSQL", None), ("PostgreSQL, frozen", None)]

# Rows between the first page and the last one.
ROWS = 1_000_000


def measure(bench):
    """Each model with each history. Without a cache: what is known already is told of no model."""
    subjects = {model: getattr(bench.subjects, model)() for model in MODELS}
    databases = {"PostgreSQL": Postgres(bench, "there"), "PostgreSQL, frozen": Postgres(bench, "frozen")}
    servers = {"off": start(bench, "off", 'mode = "off"'), "SQLite": start(bench, "sqlite", 'mode = "sqlite"')}
    for name, database in databases.items():
        servers[name] = start(bench, name, f'mode = "postgres"\npostgres_url = "{database.url}"')
    databases["PostgreSQL, frozen"].signal(signal.SIGSTOP)
    counts = {name: 0 for name in servers}

    def run(model, name):
        result = bench.drive(servers[name], subjects[model], CONNECTIONS)()
        counts[name] += result["requests"]
        if name in ("SQLite", "PostgreSQL"):
            wait_until_written(servers[name])
        return result

    for name in servers:
        for model in MODELS:
            run(model, name)
    runs = {(model, name): lambda model=model, name=name: run(model, name) for model in MODELS for name in servers}
    results = closed.alternate(bench.options.rounds, runs)
    databases["PostgreSQL, frozen"].signal(signal.SIGCONT)
    rows = {}
    for name, server in servers.items():
        if name != "off":
            seconds = wait_until_written(server)
            rows[name] = {"answers": counts[name], "seconds_after": seconds, **told(server)}
    paging = {name: page_times(servers[name], fill) for name, fill in
              {"SQLite": lambda: fill_sqlite(folder(bench, "sqlite")), "PostgreSQL": databases["PostgreSQL"].fill}.items()}
    explain = {"SQLite": lambda sql: plan_sqlite(folder(bench, "sqlite"), sql), "PostgreSQL": databases["PostgreSQL"].plan}
    plans = {name: {page: plan(sql) for page, sql in PLANS.items()} for name, plan in explain.items()}
    for server in servers.values():
        bench.services.stop(server)
    for database in databases.values():
        database.child.stop()
    pairs = [{"model": model, "what": name, "wanted": wanted, **ratio(results[model, name], results[model, "off"])}
             for model in MODELS for name, wanted in PAIRS]
    runs = [{"model": model, "what": name, "runs": runs} for (model, name), runs in results.items()]
    return {"runs": runs, "rows": rows, "paging": paging, "plans": plans, "pairs": pairs}


def folder(bench, name):
    return bench.folder / f"history-{name.replace(', ', '-')}"


def start(bench, name, mode):
    """A server with a history of its own. No cache: every row is an inference."""
    home = folder(bench, name)
    paths = f'sqlite_path = "{home}/predictions.db"\nspool_path = "{home}/spool"\n'
    keys = bench.services.make_key(("predict", "history", "admin"))
    service = bench.services.glassbox("off", f"history {name}", keys=keys, telemetry=SECTION + paths + mode)
    if name != "off":
        service.child.wait_until(lambda: told(service)["history_database_away"] == 0 and exists(service))
    return service


def told(service):
    """What the server says of its rows."""
    text = ask(service, "/metrics").decode()
    return {name: float(value) for name, value in re.findall(r'^(history_\w+(?:{[^}]*})?) (\S+)$', text, re.MULTILINE)}


def exists(service):
    try:
        return ask(service, "/v1/predictions?limit=1") is not None
    except OSError:
        return False


def ask(service, path):
    request = urllib.request.Request(f"http://{service.address}{path}", headers={"X-API-Key": service.key})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def wait_until_written(service):
    """Seconds until nothing waits any more."""
    started = time.monotonic()
    while told(service)["history_pending_rows"] > 0:
        if time.monotonic() - started > 600:
            raise SystemExit("rows wait for 10 minutes")
        time.sleep(0.05)
    return round(time.monotonic() - started, 2)


def page_times(service, fill):
    """Milliseconds of the first page and of the last one, of a million rows; medians of 30."""
    fill()
    pages = {"first": "limit=50", "last": "limit=50&until=1970-01-01T00:00:01Z",
             "first, one model": "model=m&limit=50", "last, one model": "model=m&limit=50&until=1970-01-01T00:00:01Z"}
    return {name: round(statistics.median(timed(service, query) for _ in range(30)), 3) for name, query in pages.items()}


def timed(service, query):
    started = time.perf_counter()
    ask(service, f"/v1/predictions?{query}")
    return (time.perf_counter() - started) * 1000


# What the first page and the last one ask for, with an id as each database writes it.
LAST = "0000000003e8700080000000000000ff"
SELECT = "SELECT id, prediction FROM predictions WHERE 1 = 1{} ORDER BY id DESC LIMIT 50"
PLANS = {"first": SELECT.format(""), "last": SELECT.format(" AND id < {id}"), "first, one model": SELECT.format(" AND model = 'm'")}

COLUMNS = "id, request_id, model, version, provider, input_hash, label, latency_us, cached"


def fill_sqlite(home):
    """Rows of the first milliseconds of 1970, so that they are the oldest."""
    with sqlite3.connect(home / "predictions.db", timeout=60) as connection:
        rows = ((bytes.fromhex(f"{n:012x}70008000000000000000"),) for n in range(1, ROWS + 1))
        connection.executemany(
            f"INSERT INTO predictions ({COLUMNS}) VALUES (?1, NULL, 'm', '1', 'p', ?1, 'toxic', 1, 0)", rows)


def plan_sqlite(home, sql):
    with sqlite3.connect(home / "predictions.db", timeout=60) as connection:
        rows = connection.execute("EXPLAIN QUERY PLAN " + sql.format(id=f"x'{LAST}'"))
        return "; ".join(row[3] for row in rows)


class Postgres:
    """A PostgreSQL of our own, as it comes, with everything on this disk."""

    def __init__(self, bench, name):
        home = bench.folder / f"postgres-{name}"
        home.mkdir()
        # Its own user may not pass through a folder that is nobody else's business.
        for above in (bench.folder, home):
            above.chmod(0o755)
        if os.getuid() == 0:
            shutil.chown(home, "postgres")
        port = free_port()
        subprocess.run(program("initdb") + ["--auth", "trust", "--username", "glassbox", "--pgdata", home / "data"],
                       check=True, capture_output=True, cwd="/", timeout=120)
        self.child = bench.services.children.start(
            program("postgres") + ["-D", home / "data", "-c", f"port={port}", "-c", "listen_addresses=127.0.0.1", "-c",
                                   "unix_socket_directories="], log=bench.folder / f"postgres-{name}.log", cwd="/")
        self.child.wait_until(lambda: "ready to accept connections" in Path(self.child.log_path).read_text())
        self.url = f"postgres://glassbox@127.0.0.1:{port}/postgres"

    def signal(self, number):
        """To all its processes, each of which has a group of its own."""
        first = self.child.process.pid
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        for pid in [first, *(pid for pid in pids if (fields := stat(pid)) and int(fields[1]) == first)]:
            os.kill(pid, number)

    def fill(self):
        """As [`fill_sqlite`]."""
        ids = "(lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid"
        values = f"{ids}, NULL, 'm', '1', 'p', {ids}, 'toxic', 1, false"
        sql = f"INSERT INTO predictions ({COLUMNS}) SELECT {values} FROM generate_series(1::bigint, {ROWS}) AS n"
        subprocess.run(program("psql", own=False) + [self.url, "-q", "-c", sql], check=True, timeout=600)

    def plan(self, sql):
        """As [`plan_sqlite`]."""
        explain = "EXPLAIN (COSTS OFF) " + sql.format(id=f"'{LAST}'")
        command = program("psql", own=False) + [self.url, "-Atqc", explain]
        lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
        return "; ".join(line.strip().removeprefix("->").strip() for line in lines)


def program(name, own=True):
    """One of PostgreSQL's programs; its server refuses to run as root."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = shutil.which(name) or (debian and str(debian[-1]))
    if not path:
        raise SystemExit(f"{name} is not there. Mend it with: apt-get install postgresql")
    user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]
    return (user if own and os.getuid() == 0 else []) + [path]


def tables(data):
    lines = ["| uncached, 32 connections | history | ratio to none | in the rounds | wanted | |", "|---|---|---|---|---|---|"]
    for pair in data["pairs"]:
        wanted = f"≥ {pair['wanted']}" if pair["wanted"] else ""
        reached = ("reached" if pair["median"] >= pair["wanted"] else "missed") if pair["wanted"] else ""
        lines.append(f"| {pair['model']} | {pair['what']} | **{number(pair['median'])}** | {number(pair['lowest'])} to "
                     f"{number(pair['highest'])} | {wanted} | {reached} |")
    runs = ["| | history | predictions/s | p99 ms | server CPU per request, µs | memory MB, first and last round |",
            "|---|---|---|---|---|---|"]
    for each in data["runs"]:
        results = each["runs"]
        cells = [number(median(results, field)) for field in ("per_second", "p99_ms", "cpu_us_per_request")]
        cells.append(f"{results[0]['pss_mb']:.1f}, {results[-1]['pss_mb']:.1f}")
        runs.append(f"| {each['model']} | {each['what']} | {' | '.join(cells)} |")
    rows = ["| | answers | rows in the database | by way of the spool | lost | written after, s |", "|---|---|---|---|---|---|"]
    for name, each in data["rows"].items():
        kinds = [each[f'history_rows_total{{result="{result}"}}'] for result in ("stored", "spooled", "dropped")]
        cells = [f"{count:,.0f}" for count in (each["answers"], *kinds)]
        rows.append(f"| {name} | {' | '.join(cells)} | {each['seconds_after']} |")
    pages = ["| a page of 50 of a million rows, ms | " + " | ".join(next(iter(data["paging"].values()))) + " |"]
    pages.append("|---" * (pages[0].count("|") - 1) + "|")
    for name, times in data["paging"].items():
        pages.append(f"| {name} | " + " | ".join(number(time) for time in times.values()) + " |")
    plans = ["| plan of a page | " + " | ".join(PLANS) + " |", "|---" * (len(PLANS) + 1) + "|"]
    for name, each in data["plans"].items():
        plans.append(f"| {name} | " + " | ".join(each[page] for page in PLANS) + " |")
    return {"history": lines, "history-runs": runs, "history-rows": rows, "history-pages": pages, "history-plans": plans}
