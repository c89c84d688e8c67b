"""Are the answers the same? Comparing the speed of servers that answer differently would say nothing."""

import math

from . import client

TOLERANCE = 1e-5
FIELDS = {"id", "model", "model_version", "provider", "prediction", "cached", "latency_ms"}


def check(services, subject, count=150):
    """Sends the same bodies to all, and ends the benchmark when an answer differs. Says how far they were apart."""
    with open(subject.file) as file:
        lines = [line.rstrip("\n") for line in file][:count]
    answers = [client.post(service.address, service.path(subject), lines, service.key) for service in services]
    widest = 0.0
    for service, theirs in zip(services[1:], answers[1:]):
        for body, a, b in zip(lines, answers[0], theirs):
            distance = apart(of(a), of(b))
            if distance > TOLERANCE:
                raise SystemExit(f"{services[0].name} and {service.name} answer {body} differently:\n  {a}\n  {b}")
            if subject.batch == 1 and (missing := FIELDS - b.keys()):
                raise SystemExit(f"{service.name} answers without {missing}")
            widest = max(widest, distance)
    return {"bodies": len(lines), "between": [service.name for service in services], "widest": widest}


def of(answer):
    """The prediction or predictions in an answer."""
    if "predictions" in answer:
        return [item["prediction"] for item in answer["predictions"]]
    return answer["prediction"]


def apart(a, b):
    """The largest difference between two predictions, relative for numbers above 1; infinite when they are unlike."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return max((apart(a[key], b[key]) for key in a), default=0.0)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return max((apart(x, y) for x, y in zip(a, b)), default=0.0)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b) / max(1.0, abs(a), abs(b))
    return 0.0 if a == b else math.inf
