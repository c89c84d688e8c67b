"""The programs that are compared, each started once per setting and kept."""

import os
import subprocess
from pathlib import Path

from . import client
from .processes import free_port

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".bench-python/bin/python"
PLAN = '[plans.bench]\nrate = 1000000\nburst = 1000000\nconcurrent = 100000\n'


class Service:
    """A running server and how it is reached."""

    def __init__(self, name, child, address, key, start_ms):
        self.name, self.child, self.address, self.key, self.start_ms = name, child, address, key, start_ms

    def path(self, subject):
        """Where this server answers `subject`."""
        if self.name == "glassbox":
            if subject.json_length:
                return f"/v2/models/{subject.model}/infer"
            return "/v1/predict_batch" if subject.batch > 1 else "/v1/predict"
        if self.name == "fastapi":
            return "/predict/batch" if subject.batch > 1 else "/predict"
        return "/constant" if subject.hit else f"/{subject.model}"


class Services:
    """Starts what is asked for, and remembers it."""

    def __init__(self, children, folder, target, models):
        self.children, self.folder, self.target, self.models = children, folder, target, models
        self.running, self.key_count = {}, 0

    def glassbox(self, cache="off", name=None, models=None, capacity="256MiB", keys=None, telemetry="", env=None):
        """The server with all layers: key, quota, log into a file, metrics, request ids, validation. `cache` is its mode,
        `telemetry` further settings, `env` further variables."""
        start = lambda: self._glassbox(cache, models or self.models, capacity, keys, telemetry, env or {})  # noqa: E731
        return self._once(("glassbox", cache, name), start)

    def ceiling(self, name=None, env=None):
        """The bare handler; `env` are further variables."""
        return self._once(("ceiling", name), lambda: self._ceiling(env or {}))

    def fastapi(self, cache=False, threads=1):
        """The service in Python; `cache` is whether it keeps answers in Redis."""
        return self._once(("fastapi", cache, threads), lambda: self._fastapi(cache, threads))

    def redis(self):
        """A Redis of our own, without persistence."""
        return self._once(("redis",), self._redis)

    def stop(self, service):
        """Ends one before the others."""
        service.child.stop()
        self.running = {key: kept for key, kept in self.running.items() if kept is not service}

    def binary(self):
        return self.target / "release/glassbox"

    def example(self):
        return self.target / "release/examples/ceiling"

    def library(self):
        return ROOT / ".onnxruntime/libonnxruntime.so"

    def make_key(self, scopes=("predict",)):
        """A keys file with one key whose plan allows everything, and the key."""
        self.key_count += 1
        path = self.folder / f"keys-{self.key_count}.toml"
        path.write_text(PLAN)
        command = [self.binary(), "keys", "create", "--file", path, "--name", "bench", "--plan", "bench"]
        command += [word for scope in scopes for word in ("--scope", scope)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return path, done.stdout.strip().splitlines()[-1]

    def _once(self, key, start):
        if key not in self.running:
            self.running[key] = start()
        return self.running[key]

    def _glassbox(self, cache, models, capacity, keys, telemetry, env):
        path, key = keys or self.make_key()
        port = free_port()
        redis = f'[redis]\nurl = "redis://{self.redis().address}"\n' if cache in ("redis", "tiered") else ""
        config = self.folder / f"glassbox-{port}.toml"
        config.write_text(
            f'[server]\nlisten = "127.0.0.1:{port}"\n[models]\nrepository = "{models}"\n'
            f'[auth]\nkeys_file = "{path}"\n[cache]\nmode = "{cache}"\ncapacity = "{capacity}"\n'
            f'[telemetry]\nlog_format = "json"\n{telemetry}\n{redis}')
        child = self.children.start(
            [self.binary(), "serve", "--config", config], log=self.folder / f"glassbox-{port}.log",
            env={"ORT_DYLIB_PATH": str(self.library()), **env})
        address = f"127.0.0.1:{port}"
        start_ms = child.wait_until(lambda: client.get_status(address, "/readyz") == 200)
        return Service("glassbox", child, address, key, start_ms)

    def _ceiling(self, env):
        port = free_port()
        child = self.children.start(
            # It opens the graphs that it has a route for, and no others, wherever they are.
            [self.example(), "--library", self.library(), "serve", "--listen", f"127.0.0.1:{port}", "--models",
             ROOT / "model"], log=self.folder / f"ceiling-{port}.log", env=env)
        address = f"127.0.0.1:{port}"
        start_ms = child.wait_until(lambda: client.get_status(address, "/constant") == 405)
        return Service("ceiling", child, address, "none", start_ms)

    def _fastapi(self, cache, threads):
        port, key = free_port(), "bench-" + os.urandom(12).hex()
        metrics = self.folder / f"prometheus-{port}"
        metrics.mkdir()
        env = {
            "MODELS": str(self.models), "API_KEYS": key, "INTRA_THREADS": str(threads), "WORKERS": "2",
            "REDIS_URL": f"redis://{self.redis().address}/1" if cache else "",
            "LOG_FILE": str(self.folder / f"fastapi-{port}.log"), "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        }
        child = self.children.start(
            [PYTHON, "-m", "uvicorn", "app.main:app", "--workers", "2", "--loop", "uvloop", "--http", "httptools",
             "--no-access-log", "--port", port], log=self.folder / f"fastapi-{port}.log", env=env,
            cwd=ROOT / "benchmark/python-api")
        address = f"127.0.0.1:{port}"
        # Two workers: the second may still be loading when the first answers.
        start_ms = child.wait_until(lambda: client.get_status(address, "/health") == 200)
        child.wait_until(lambda: Path(child.log_path).read_text().count("Application startup complete") == 2)
        return Service("fastapi", child, address, key, start_ms)

    def _redis(self):
        port = free_port()
        child = self.children.start(
            ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
             self.folder], log=self.folder / "redis.log")
        child.wait_until(lambda: "eady to accept connections" in Path(child.log_path).read_text())
        return Service("redis", child, f"127.0.0.1:{port}", "", 0)
