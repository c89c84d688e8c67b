"""The server that is fuzzed: its settings, its keys, its memory, and the end of it."""

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

import graphs

ROOT = pathlib.Path(__file__).resolve().parents[2]

# For the models to be loaded, and for the server to stop, in seconds.
START_TIMEOUT = 120
STOP_TIMEOUT = 60

# A server that takes more is ended: the machine has others to serve.
MAX_RESIDENT = 4 << 30

SETTINGS = {
    "SERVER__LISTEN": "127.0.0.1:0",
    # Requests that are never finished are part of this: not for as long as usual.
    "SERVER__HEADER_TIMEOUT": "3s",
    "SERVER__BODY_TIMEOUT": "5s",
    # A larger body still fits into the window that HTTP/2 begins with, 65,535 bytes.
    "SERVER__BODY_LIMIT": "48KiB",
    "SERVER__CORS_ORIGINS": "https://app.example",
    "AUTH__PUBLIC_METRICS": "false",
    # Quotas stay on, and are out of reach.
    "RATE_LIMIT__RATE": "1000000",
    "RATE_LIMIT__BURST": "1000000",
    "RATE_LIMIT__ADDRESS_RATE": "1000000",
    "RATE_LIMIT__ADDRESS_BURST": "1000000",
    "HISTORY__MODE": "sqlite",
    "HISTORY__STORE_INPUTS": "true",
    "MODELS__DEFAULT": "toxicity",
    "TELEMETRY__LOG_FORMAT": "json",
}


class Keys:
    """Keys made of the seed, so that a request is the same bytes in every run: one of each scope, one of all, a wrong one."""

    SCOPES = {"predict": ["predict"], "history": ["history"], "metrics": ["metrics"], "admin": ["admin"],
              "all": ["predict", "history", "metrics", "admin"]}

    def __init__(self, seed):
        self.secrets = {name: self.digest(f"{seed} secret {name}")[:48] for name in self.SCOPES}
        self.ids = {name: self.digest(f"{seed} id {name}")[:12] for name in self.SCOPES}
        self.texts = {name: f"gb_{self.ids[name]}_{secret}" for name, secret in self.secrets.items()}
        self.wrong = f"gb_{self.ids['all']}_{'0' * 48}"

    def write(self, path):
        keys = [f'[[keys]]\nid = "{self.ids[name]}"\nname = "{name}"\nsecret_sha256 = "{self.digest(self.secrets[name])}"\n'
                f"scopes = {json.dumps(scopes)}\n" for name, scopes in self.SCOPES.items()]
        path.write_text("\n".join(keys))
        path.chmod(0o600)

    @staticmethod
    def digest(text):
        return hashlib.sha256(text.encode()).hexdigest()


class Server:
    """A running server in a folder of its own. Ended with the block that it is used in."""

    def __init__(self, binary, folder, keys):
        self.keys, self.log, self.errors = keys, folder / "log", folder / "errors"
        graphs.build(folder / "model", ROOT / "model")
        keys.write(folder / "keys.toml")
        paths = {"MODELS__REPOSITORY": folder / "model", "AUTH__KEYS_FILE": folder / "keys.toml",
                 "HISTORY__SQLITE_PATH": folder / "history.db", "HISTORY__SPOOL_PATH": folder / "spool",
                 "RUNTIME__ONNXRUNTIME_PATH": ROOT / ".onnxruntime"}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GLASSBOX__")}
        environment |= {f"GLASSBOX__{name}": str(value) for name, value in (SETTINGS | paths).items()}
        with open(self.log, "wb") as log, open(self.errors, "wb") as errors:
            self.process = subprocess.Popen([binary, "serve"], cwd=folder, env=environment, stdout=log, stderr=errors)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def start(self):
        """Waits until every model has been tried, and watches the memory from then on."""
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end and self.alive():
            self.address = next((line["addr"] for line in self.lines() if line.get("message") == "listening"), None)
            if self.address and not any(reason["state"] == "loading" for reason in self.ready()["reasons"]):
                threading.Thread(target=self.guard, daemon=True).start()
                return
            time.sleep(0.1)
        raise SystemExit(f"the server did not load its models within {START_TIMEOUT} s: {self.errors.read_text()}")

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        """Its exit code after SIGTERM; None when it does not end."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            return None

    def get(self, path, body=None, key="all"):
        """Status and document of a request that is as it should be."""
        headers = {"X-API-Key": self.keys.texts[key], "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{self.address}{path}", body and json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        return status, json.loads(text) if text[:1] in (b"{", b"[") else text.decode()

    def ready(self):
        return self.get("/readyz")[1]

    def lines(self):
        """The log's lines so far; one that is no JSON is a text."""
        text = self.log.read_text(errors="replace")
        for line in text[: text.rfind("\n") + 1].splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                yield {"no JSON": line}

    def resident(self):
        """Bytes of memory that it has; 0 once it has ended."""
        with contextlib.suppress(OSError):
            status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
            return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS:")), 0)
        command = ["ps", "-o", "rss=", "-p", str(self.process.pid)]
        text = subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.strip()
        return int(text or 0) << 10

    def guard(self):
        while self.alive():
            if (resident := self.resident()) > MAX_RESIDENT:
                print(f"the server took {resident >> 20} MiB, and was ended", flush=True)
                self.process.kill()
            time.sleep(0.05)
