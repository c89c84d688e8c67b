"""A collector of traces for the benchmark: python3 collector.py PORT MODE. It reads what comes over HTTP and answers at
once (`takes`), after two seconds (`slow`), or never (`frozen`)."""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers every POST with an empty message, which is a valid one."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):  # noqa: N802 - the base class calls it so
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep({"takes": 0, "slow": 2, "frozen": 1e6}[sys.argv[2]])
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    print("listening", flush=True)
    server.serve_forever()
