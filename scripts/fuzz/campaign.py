"""Sends many requests from several threads, and counts what is answered."""

import collections
import threading
import time

from exchange import exchange

# Faults that are told; of a server that is gone, everything would be one.
MAX_FAULTS = 20


class Campaign:
    def __init__(self, server, make, options):
        self.server, self.make, self.options = server, make, options
        self.lock = threading.Lock()
        # By kind and route, how often each answer came.
        self.counts = collections.defaultdict(collections.Counter)
        self.answers, self.found, self.under_way = [], [], {}

    def send(self, numbers):
        """Sends all of them, each over a connection of its own."""
        started, numbers = time.monotonic(), iter(numbers)
        threads = [threading.Thread(target=self.work, args=(numbers,)) for _ in range(self.options.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{len(self.answers)} requests so far, the last in {time.monotonic() - started:.0f} s", flush=True)

    def work(self, numbers):
        while len(self.found) < MAX_FAULTS and self.server.alive():
            with self.lock:
                number = next(numbers, None)
            if number is None:
                return
            request = self.make(number)
            self.under_way[threading.get_ident()] = request
            try:
                self.note(request, exchange(self.server.address, request))
            except ConnectionRefusedError:
                if self.server.alive():
                    self.fault(request, "its connection was refused")
                return
            except Exception as error:  # noqa: BLE001
                # An answer that this side cannot read.
                self.fault(request, f"the answer cannot be read: {error!r}")
            # Of a server that is gone, these were the last words.
            if self.server.alive():
                self.under_way.pop(threading.get_ident())

    def note(self, request, answer):
        with self.lock:
            self.counts[request.kind, request.route][answer.label()] += 1
            self.answers.append(answer.label())
        if answer.is_internal():
            self.fault(request, f"answered with {answer.label()}")
        if answer.fault:
            self.fault(request, answer.fault)

    def fault(self, request, words):
        path = self.options.keep / f"{self.options.seed}-{request.number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(request.octets())
        with self.lock:
            again = f"--seed {self.options.seed} --only {request.number}"
            self.found.append(f"request {request.number} ({request.kind}, {request.route}): {words}; again: {again}; its bytes: {path}")

    def faults(self):
        if not self.server.alive():
            for request in self.under_way.values():
                self.fault(request, "under way when the server ended")
        return self.found

    def report(self):
        """A line for each route: how often each answer came."""
        for (kind, route), counts in sorted(self.counts.items()):
            answers = ", ".join(f"{label}: {count}" for label, count in sorted(counts.items()))
            print(f"{kind:8} {route:70} {answers}")
        print(f"in all: {', '.join(f'{label}: {count}' for label, count in sorted(collections.Counter(self.answers).items()))}")
