"""Metrics of all workers together, one JSON line per request, and the id that ties them to an answer."""

import logging
import logging.handlers
import sys
import time
import uuid
from contextvars import ContextVar

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pythonjsonlogger.orjson import OrjsonFormatter

from .settings import settings

REQUESTS = Counter("http_requests_total", "Requests by route and status.", ["method", "route", "status"])
DURATION = Histogram("http_request_duration_seconds", "From the first byte of a request to the last of its answer.",
                     ["route"], buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5))
PREDICTIONS = Counter("predictions_total", "Predictions by model and where they came from.", ["model", "source"])

request_id: ContextVar[str] = ContextVar("request_id", default="")
logger = logging.getLogger("access")


def start_logging() -> None:
    """JSON lines, written by the worker itself."""
    handler = logging.FileHandler(settings.log_file) if settings.log_file else logging.StreamHandler(sys.stdout)
    handler.setFormatter(OrjsonFormatter("{asctime}{levelname}{message}", style="{"))
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def render_metrics() -> tuple[bytes, str]:
    """The sum over all workers, in Prometheus' text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST


class Telemetry:
    """A plain ASGI middleware: BaseHTTPMiddleware would start a task and a stream per request."""

    def __init__(self, app) -> None:
        self.app = app
        self.requests: dict = {}
        self.durations: dict = {}

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        identifier = given.decode("latin-1")[:128] if given else str(uuid.uuid4())
        request_id.set(identifier)
        status = 500

        async def answer(message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", identifier.encode("latin-1")))
            await send(message)

        try:
            await self.app(scope, receive, answer)
        finally:
            self.finished(scope, status, identifier, time.perf_counter() - started)

    def finished(self, scope, status: int, identifier: str, seconds: float) -> None:
        """Counts and logs. Children are kept: labels() takes a lock and hashes its arguments."""
        route = getattr(scope.get("route"), "path", "unknown")
        key = (scope["method"], route, status)
        if key not in self.requests:
            self.requests[key] = REQUESTS.labels(*map(str, key))
            self.durations[route] = DURATION.labels(route)
        self.requests[key].inc()
        self.durations[route].observe(seconds)
        logger.info("request", extra={
            "request_id": identifier, "method": scope["method"], "route": route, "status_code": status,
            "client": scope["client"][0] if scope["client"] else None, "latency_ms": round(seconds * 1000, 3),
        })
