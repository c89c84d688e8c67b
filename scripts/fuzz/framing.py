"""Requests of HTTP/1.1 whose framing is at fault: lengths, chunks, heads, pipelines, what is cut off or comes slowly."""

import documents
import octets
import trees
from request import Request

# As large as a head may be for a server to have to read it.
LONG = "x" * 20_000

# Each of these takes seconds.
LEFT_SHARE = 0.01


def make(chance, world, number):
    fault = left if chance.random() < LEFT_SHARE else chance.choice(FAULTS)
    pieces, options = fault(chance, *seed(chance, world, number))
    route = f"HTTP/1.1 {fault.__name__.replace('_', ' ')}"
    return Request(number, "framing", route, pieces, **{"is_whole": False, "closes": True} | options)


def seed(chance, world, number):
    """A request that is as it should be: its head without the last line, and its body."""
    operation = world.operation(chance.choice(["predict", "predict_batch"]))
    body = trees.write(documents.body(chance, world, operation).document)
    lines = [f"POST {operation.path} HTTP/1.1", "Host: 127.0.0.1", f"X-API-Key: {world.keys.texts['all']}", "Content-Type: application/json",
             f"X-Request-Id: fuzz-{number}"]
    return "\r\n".join(lines).encode() + b"\r\n", body


def length(octets):
    return b"Content-Length: %d\r\n\r\n" % len(octets)


def wrong_length(chance, head, body):
    values = [str(len(body) - 1), str(len(body) + 1), "-1", "+5", "0x10", "1e3", "", "5, 5", "5, 6", "9" * 30, "1 2", str(2**63)]
    return [head + f"Content-Length: {chance.choice(values)}\r\n\r\n".encode() + body], {}


def two_lengths(chance, head, body):
    other = chance.choice([len(body), len(body) - 1, 0])
    return [head + b"Content-Length: %d\r\n" % other + length(body) + body], {}


def length_and_chunks(chance, head, body):
    coding = chance.choice([b"chunked", b"Chunked", b"gzip, chunked", b"chunked, identity", b"\x0bchunked", b"x", b"chunked, chunked"])
    return [head + b"Transfer-Encoding: " + coding + b"\r\n" + length(body) + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"], {}


def broken_chunks(chance, head, body):
    size = chance.choice([b"%x" % (len(body) + 1), b"-1", b"g", b"", b"f" * 17, b"%x;%s" % (len(body), b"e" * 9000), b"0x5", b" 5", b"5 "])
    end = chance.choice([b"\r\n0\r\n\r\n", b"0\r\n\r\n", b"\r\n", b"\r\n0\r\nTrailer: x\r\n\r\n", b"\r\n0\r\n" + b"A: b\r\n" * 2000 + b"\r\n", b"\n0\n\n"])
    return [head + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n" + body + end], {}


def broken_head(chance, head, body):
    extra = chance.choice([b"No colon\r\n", b": no name\r\n", b"Na me: x\r\n", b"X: \x00\r\n", b"X: a\rb\r\n", b" folded\r\n", b"X : y\r\n",
                           b"X-Long: " + LONG.encode() + b"\r\n", b"X: y\r\n" * 300, b"Host: other\r\n", b"\xff\xfe: x\r\n", b"X: y\n"])
    return [head + extra + length(body) + body], {}


def broken_line(chance, head, body):
    lines = [b"", b"GET", b"GET /", b"GET / HTTP/1.0", b"GET / HTTP/0.9", b"GET / HTTP/2.0", b"GET / HTTP/1.1 x", b"G\x00T / HTTP/1.1",
             b"GET  / HTTP/1.1", b"GET http://evil.example/healthz HTTP/1.1", b"GET * HTTP/1.1", b"OPTIONS * HTTP/1.1",
             b"CONNECT evil.example:443 HTTP/1.1", b"GET /\xff HTTP/1.1", b"GET /a b HTTP/1.1", b"GET //healthz HTTP/1.1",
             b"GET /" + LONG.encode() * 4 + b" HTTP/1.1", b"get / http/1.1", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
    return [chance.choice(lines) + head[head.index(b"\r\n"):] + length(body) + body], {}


def flipped(chance, head, body):
    return [octets.mutate(chance, head + length(body)) + body], {}


def cut_off(chance, head, body):
    data = head + length(body) + body
    return [data[: chance.randrange(len(data))]], {}


def left(chance, head, body):
    """The rest never comes, and the connection stays: the server's timeouts alone end it."""
    data = head + length(body) + body
    return [data[: chance.randrange(1, len(data))]], {"closes": False, "is_left": True}


def slow(chance, head, body):
    data = head + length(body) + body
    step = len(data) // 6 + 1
    pieces = [piece for at in range(0, len(data), step) for piece in (data[at:at + step], 0.03)]
    return pieces, {"methods": ["POST"], "is_whole": True, "closes": False}


def pipeline(chance, head, body):
    health = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    order = [chance.choice([(["POST"], head + length(body) + body), (["GET"], health)]) for _ in range(chance.randint(2, 12))]
    methods = [method for methods, _ in order for method in methods]
    return [b"".join(data for _, data in order)], {"methods": methods, "is_whole": True, "closes": False}


def pipeline_of_faults(chance, head, body):
    health = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    odd = octets.mutate(chance, head + length(body)) + body
    return [b"".join(chance.choice([health, odd]) for _ in range(chance.randint(2, 12)))], {}


def gone(chance, head, body):
    """The caller does not wait for the answer."""
    return [head + length(body) + body], {}


def noise(chance, head, body):
    return [chance.randbytes(chance.randint(1, 3000))], {}


FAULTS = [wrong_length, two_lengths, length_and_chunks, broken_chunks, broken_head, broken_line, flipped, cut_off, slow, pipeline,
          pipeline_of_faults, gone, noise]
