"""Requests of HTTP/1.1 to the routes of the description, in whole: what is odd is their meaning."""

import gzip
import urllib.parse
import zlib

import documents
import graphs
import octets
import trees
from request import Request

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"]
SEGMENTS = ["nowhere", "", ".", "..", "%2e%2e", "%2F", "%00", "%ff", "%", "%zz", "a%20b", "%F0%9F%99%82", "x" * 300, "1", "0", "-1", "2e9",
            "main.js", "style.css", "{model}", "*"]
VALUES = ["", "1", "0", "-1", "50", "1000", "1001", "99999999999999999999", "1e3", "NaN", "true", "null", "toxicity", "toxic", "%00",
          "%ff", "a%26b", "2026-01-01T00:00:00Z", "2026-01-01", "9999-12-31T23:59:59Z", "0.5", "1.5", "AQAAAAAAAAAAAAAAAAAAAAA",
          "x" * 2000, "%F0%9F%99%82", "' OR 1=1 --", "invalid_input"]

RIGHT = {"model": "toxicity", "version": "1", "label": "toxic", "since": "2026-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z",
         "min_confidence": "0.5", "max_confidence": "1", "cached": "false", "limit": "7", "code": "invalid_input", "min_latency_ms": "0.1"}

# The server reads so much of a body for nothing.
MAX_UNREAD = 64 * 1024

# A body above the server's limit.
TOO_LARGE = b" " * 60_000


def make(chance, world, number):
    operation = chance.choice(world.operations + world.predicting * 8 + [each for each in world.operations if each.has_body] * 2)
    method = operation.method if chance.random() < 0.93 else chance.choice(METHODS)
    made = documents.body(chance, world, operation)
    body, more = content(chance, made) if operation.has_body or chance.random() < 0.05 else (b"", [])
    target = fill(chance, operation, made.model, number) + query(chance, world, operation)
    head = [("Host", "127.0.0.1"), ("X-Request-Id", f"fuzz-{number}"), *key(chance, world, operation), *more, *headers(chance)]
    pieces = framed(chance, f"{method} {target} HTTP/1.1", head, body)
    route = f"{method if method == operation.method else 'other'} {operation.path}"
    # A server may close the connection on a caller who asks first and does not wait, and on a body that it does not read: on
    # a long one, or one that is late.
    is_whole = len(body) <= MAX_UNREAD and len(pieces) == 1 and not any(name == "Expect" for name, _ in head)
    return Request(number, "rest", route, pieces, [method], is_whole=is_whole)


def fill(chance, operation, model, number):
    """The path, its parameters filled in."""
    is_repository = "/repository/" in operation.path
    values = {
        "model": graphs.SPARE if is_repository else model or "doubler",
        "version": "1",
        "id": f"fuzz-{chance.randrange(max(1, number))}",
        "file": chance.choice(["main.js", "style.css", "api.js"]),
    }
    segments = []
    for segment in operation.path.split("/"):
        if segment.startswith("{"):
            segment = values.get(segment[1:-1], "1") if chance.random() < 0.85 else chance.choice(SEGMENTS)
        elif chance.random() < 0.005:
            segment = chance.choice(SEGMENTS)
        segments.append(segment)
    # A request's target has no spaces, whatever is asked for.
    return urllib.parse.quote("/".join(segments), safe="/%{}*") or "/"


def query(chance, world, operation):
    if not operation.queries and chance.random() < 0.95:
        return ""
    known = operation.queries if operation.queries and chance.random() < 0.8 else [*operation.queries, "unknown", "%00"]
    names = chance.choices(known, k=chance.randint(0, 4))
    right = RIGHT | {"key": world.keys.ids["predict"]}
    pairs = [f"{name}={right[name] if name in right and chance.random() < 0.7 else chance.choice(VALUES)}" for name in names]
    return "?" + urllib.parse.quote(chance.choice(["&", "&&", ";"]).join(pairs), safe="&;=%")


def key(chance, world, operation):
    """Usually a key that may do everything."""
    texts = world.keys.texts
    text = texts["all"] if chance.random() < 0.8 else chance.choice([*texts.values(), world.keys.wrong, "gb_", "", "x" * 200, "é"])
    if operation.name == "forget_predictions" and chance.random() < 0.9:
        # The history is to have rows that others are asked for.
        text = texts["predict"]
    form = chance.random()
    if form < 0.05:
        return []
    both = [("X-API-Key", text), ("Authorization", f"Bearer {text}")]
    return both if form < 0.1 else [both[form < 0.5]]


def headers(chance):
    """Some of those that mean something to the server, as they should be or not."""
    all_of_them = [
        ("X-Request-Id", chance.choice(["", "x" * 128, "x" * 129, "a b", "é", "\x01"])),
        ("X-Request-Timeout", chance.choice(["250ms", "1s", "0", "0ms", "-1s", "1us", "99999999999s", "5", "1e3s", "x", "10s, 1s"])),
        ("traceparent", chance.choice(["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
                                       "ff-x", "", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01-more"])),
        ("tracestate", chance.choice(["a=b", "=", "x" * 600, ",,,"])),
        ("Cache-Control", chance.choice(["no-cache", "no-store", "max-age=0", "max-age=-1", "max-age=99999999999999999999",
                                         "only-if-cached", "only-if-cached, max-age=5", "max-age", "=", "no-store, no-cache"])),
        ("Accept", chance.choice(["*/*", "application/json", "text/csv", "application/x-ndjson", "text/html", "", "q=2", "application/json;q=x"])),
        ("Accept-Encoding", chance.choice(["gzip", "gzip;q=0", "br", "*", "", "gzip, deflate, br"])),
        ("Origin", chance.choice(["https://app.example", "http://evil.example", "null", "", "x"])),
        ("Access-Control-Request-Method", chance.choice(["POST", "x y", ""])),
        ("Access-Control-Request-Headers", "x-api-key"),
        ("X-Forwarded-For", chance.choice(["10.0.0.1", "::1", "x", "1.2.3.4, 5.6.7.8", ""])),
        ("Expect", chance.choice(["100-continue", "200-ok", ""])),
        ("Inference-Header-Content-Length", chance.choice(["0", "1", "5", "-1", "99999999999", "x", "", "+3"])),
        ("Content-Type", chance.choice(["application/json", "application/octet-stream", "text/plain", "application/json; charset=utf-16",
                                        "application/grpc", "multipart/form-data; boundary=x", ""])),
        ("Range", "bytes=0-1"), ("If-None-Match", "*"), ("Upgrade", "h2c"), ("X-HTTP-Method-Override", "DELETE"),
    ]
    if chance.random() < 0.5:
        return []
    chosen = chance.sample(all_of_them, chance.randint(1, 4))
    return chosen + chance.choices(chosen, k=chance.choice([0, 0, 0, 1, 60]))


def content(chance, made):
    """A body, mutated by its meaning or by its bytes, and the headers that belong to it."""
    way = chance.random()
    document = trees.write(made.document if way < 0.15 or way > 0.6 else trees.mutate(chance, made.document))
    binary = octets.mutate(chance, made.octets) if made.octets and chance.random() < 0.3 else made.octets
    body, more = document + binary, [("Content-Type", "application/json" if chance.random() < 0.95 else "text/plain")]
    if binary:
        more.append(("Inference-Header-Content-Length", str(len(document) + chance.choice([0] * 8 + [-1, 1]))))
    if 0.6 < way < 0.9:
        body = octets.mutate(chance, body)
    elif way >= 0.95:
        other = body.decode("utf-8", "replace").encode("utf-16")
        body = chance.choice([b"", b"null", b"\xef\xbb\xbf" + body, body * 2, TOO_LARGE, chance.randbytes(200), other])
    return coded(chance, body, more)


def coded(chance, body, more):
    """Sometimes compressed, and sometimes damaged after that."""
    if chance.random() < 0.9:
        return body, more
    coding = chance.choice(["gzip", "deflate", "x-gzip", "br", "identity", "gzip, gzip"])
    repeated = body * chance.choice([1, 1, 1, 2000]) if len(body) < 1000 else body
    packed = zlib.compress(repeated) if coding == "deflate" else gzip.compress(repeated, mtime=0)
    packed = octets.mutate(chance, packed) if chance.random() < 0.3 else packed
    return packed * chance.choice([1, 1, 1, 3]), [*more, ("Content-Encoding", coding)]


def framed(chance, line, head, body):
    """The bytes: with a length or in chunks, sometimes in pieces, the connection kept or not."""
    if chance.random() < 0.3:
        head.append(("Connection", "close"))
    if chance.random() < 0.2:
        head.append(("Transfer-Encoding", "chunked"))
        body = chunks(chance, body)
    elif body or not line.startswith(("GET", "HEAD")):
        head.append(("Content-Length", str(len(body))))
    if chance.random() < 0.1:
        chance.shuffle(head)
    data = "\r\n".join([line, *(f"{name}: {value}" for name, value in head), "", ""]).encode("utf-8") + body
    if chance.random() < 0.95:
        return [data]
    place = chance.randrange(len(data))
    return [data[:place], 0.01, data[place:]]


def chunks(chance, body):
    size = chance.choice([1, 7, 4096]) if len(body) < 2000 else 4096
    parts = [body[at:at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
