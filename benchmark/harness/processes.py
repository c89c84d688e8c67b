"""Starts programs, tells what they use, and ends them: these and no others, whatever happens."""

import os
import signal
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Children:
    """Everything that was started here. Leaving the `with` block ends it."""

    def __init__(self):
        self.children = []

    def __enter__(self):
        # A polite end ends the children too, as Ctrl-C does.
        signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(143)))
        return self

    def __exit__(self, *_):
        for child in reversed(self.children):
            child.stop()

    def start(self, command, **options):
        child = Child(command, **options)
        self.children.append(child)
        return child


class Child:
    """A program in a process group of its own, with all that it starts."""

    def __init__(self, command, log, env=None, cwd=None):
        self.command, self.log_path = command, log
        # Appending, so that the file can be emptied while it is written.
        self.log = open(log, "ab")
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})}, cwd=cwd, start_new_session=True)

    def stop(self):
        """Asks, waits, and insists. The group lives as long as one of its processes does."""
        for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(seconds)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.process.poll()
        self.log.close()

    def wait_until(self, ready, seconds=120):
        """Waits until `ready()`; the milliseconds since the start."""
        while not ready():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.command[0]} ended with exit code {self.process.returncode}:\n{self.tail()}")
            if time.perf_counter() - self.started > seconds:
                raise SystemExit(f"{self.command[0]} is not ready after {seconds} s:\n{self.tail()}")
            time.sleep(0.001)
        return (time.perf_counter() - self.started) * 1000

    def tail(self):
        with open(self.log_path, errors="replace") as log:
            return "".join(log.readlines()[-15:])

    def forget_log(self):
        """Empties the log, which grows by megabytes per second."""
        os.truncate(self.log_path, 0)

    def pids(self):
        """The processes of its group."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit() and (fields := stat(int(name))) and int(fields[2]) == self.process.pid:
                found.append(int(name))
        return found

    def cpu_seconds(self):
        """User and system time of all its processes so far."""
        fields = [stat(pid) for pid in self.pids()]
        return sum(int(each[11]) + int(each[12]) for each in fields if each) / TICKS

    def memory_mb(self):
        """Resident memory of all its processes: pages that several share count once (PSS), and as often as shared (RSS)."""
        pss = rss = 0
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/smaps_rollup") as rollup:
                    for line in rollup:
                        name, _, rest = line.partition(":")
                        pss += int(rest.split()[0]) if name == "Pss" else 0
                        rss += int(rest.split()[0]) if name == "Rss" else 0
            except OSError:
                continue
        return {"pss_mb": round(pss / 1024, 2), "rss_mb": round(rss / 1024, 2)}


def stat(pid):
    """The fields of /proc/PID/stat after the name, which may hold spaces; None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
