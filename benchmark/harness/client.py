"""Single requests over HTTP, for readiness and for the comparison of answers."""

import http.client
import json


def get_status(address, path):
    """The status of a GET; None when nobody answers."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def post(address, path, bodies, key):
    """The answers to `bodies`, in order, over one connection."""
    connection = http.client.HTTPConnection(address, timeout=30)
    headers = {"Content-Type": "application/json", "X-API-Key": key}
    answers = []
    try:
        for body in bodies:
            connection.request("POST", path, body.encode(), headers)
            response = connection.getresponse()
            text = response.read()
            if response.status != 200:
                raise SystemExit(f"http://{address}{path} answered {response.status} to {body[:200]}: {text[:500]!r}")
            answers.append(json.loads(text))
    finally:
        connection.close()
    return answers
