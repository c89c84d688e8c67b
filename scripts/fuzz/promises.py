"""What holds when all has been sent."""

import time

import graphs

# How much more memory the server may have than before.
MAX_MORE = 100 << 20

# For memory to be given back, in seconds.
MEMORY_TIMEOUT = 60


class Before:
    """How the server was."""

    def __init__(self, server):
        self.ready, self.resident = server.ready(), 0

    def measure(self, server):
        """Looks at the memory until it stays as it is."""
        last = 0
        end = time.monotonic() + MEMORY_TIMEOUT
        while abs(server.resident() - last) > 1 << 20 and time.monotonic() < end:
            last = server.resident()
            time.sleep(1)
        self.resident = server.resident()


def kept(server, world, before):
    """Every promise that is broken, in words. Ends the server."""
    if not server.alive():
        return [f"the server ended by itself, with {server.process.returncode}", *log(server, world)]
    faults = [*served(server, before), *(memory(server, before) if before else []), *words(server, world, "/metrics"),
              *words(server, world, "/v1/debug/requests")]
    code = server.stop()
    faults += [] if code == 0 else [f"SIGTERM ended it with {code}"]
    return faults + log(server, world)


def served(server, before):
    status, _ = server.get(f"/v2/repository/models/{graphs.SPARE}/load", {})
    if status != 200:
        yield f"the spare model cannot be loaded: {status}"
    for body, expected in [({"model": "doubler", "input": [1.0, 2.5]}, [2.0, 5.0]),
                           ({"model": "sums", "input": {"a": [1, 2], "b": [3, 4]}}, [4, 6])]:
        status, answer = server.get("/v1/predict", body)
        if status != 200 or answer["prediction"] != expected:
            yield f"{body} is answered with {status}: {answer}"
    if before and (ready := server.ready()) != before.ready:
        yield f"/readyz was {before.ready}, and is {ready}"


def memory(server, before):
    end = time.monotonic() + MEMORY_TIMEOUT
    while (now := server.resident()) > before.resident + MAX_MORE and time.monotonic() < end:
        time.sleep(0.5)
    print(f"memory: {before.resident >> 20} MiB before, {now >> 20} MiB after")
    if now > before.resident + MAX_MORE:
        yield f"memory went from {before.resident >> 20} to {now >> 20} MiB"


def words(server, world, path):
    _, text = server.get(path)
    if world.canary in str(text):
        yield f"a text of a request is in {path}"


def log(server, world):
    """What has no place in the log, and failures that only the log tells of."""
    faults = []
    for line in server.lines():
        internal = line.get("error_code") == "internal" or line.get("status_code") == 500
        if "no JSON" in line or line.get("message") == "panicked" or internal:
            faults.append(f"in the log: {str(line)[:600]}")
    text = server.log.read_text(errors="replace")
    errors = server.errors.read_text(errors="replace")
    secrets = {world.canary: "a text of a request", **{secret: f"the key {name}" for name, secret in world.keys.secrets.items()}}
    faults += [f"{what} is in the log" for secret, what in secrets.items() if secret in text + errors]
    if errors:
        faults.append(f"standard error is not empty: {errors[:600]}")
    return faults[:20]
