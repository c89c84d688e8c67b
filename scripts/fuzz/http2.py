"""Requests of HTTP/2 in frames that are unusual, or at fault."""

import struct

import documents
import frames
import hpack
import octets
import trees
from frames import frame
from request import Request


def make(chance, world, number):
    way = chance.choice(WAYS)
    head, body = seed(chance, world, number)
    pieces, options = way(chance, head, body)
    route = f"HTTP/2 {way.__name__.replace('_', ' ')}"
    pieces = [frames.greeting() if piece is GREETING else piece for piece in pieces]
    return Request(number, "http2", route, pieces, **{"streams": [1], "is_whole": False} | options)


GREETING = "greeting"

# What fits into the window that a connection begins with: nothing waits for more of it.
MAX_BODY = 60_000


def seed(chance, world, number):
    """A request that is as it should be."""
    operation = world.operation(chance.choice(["predict", "predict_batch"]))
    body = trees.write(documents.body(chance, world, operation).document)
    while len(body) > MAX_BODY:
        body = trees.write(documents.body(chance, world, operation).document)
    more = [("x-api-key", world.keys.texts["all"]), ("content-type", "application/json"), ("x-request-id", f"fuzz-{number}")]
    return frames.pseudo("POST", operation.path, more), body


def split(chance, head, body):
    """Heads in many frames, bodies too, padding, a priority, and frames that mean nothing."""
    block = hpack.write(head)
    cuts = sorted({0, *(chance.randrange(len(block)) for _ in range(chance.choice([0, 1, 4]))), len(block)})
    parts = [block[start:end] for start, end in zip(cuts, cuts[1:])]
    sent = [frame(frames.CONTINUATION if at else frames.HEADERS, 0 if part is not parts[-1] else frames.END_HEADERS, 1, part)
            for at, part in enumerate(parts)]
    padded = bytes([9]) + body[:100] + bytes(9)
    sent += [frame(frames.DATA, frames.PADDED, 1, padded), frame(frames.PRIORITY, 0, 3, struct.pack(">IB", 1, 9)),
             frame(200, 77, 0, b"unknown"), frame(frames.PING, 0, 0, bytes(8)), frame(frames.DATA, 0, 1),
             *frames.body_of(1, body[100:])]
    return [GREETING, b"".join(sent)], {"is_whole": True}


def many_streams(chance, head, body):
    # No more than the server has given room for.
    number = min(chance.choice([2, 20, 100]), max(1, MAX_BODY // len(body)))
    streams = [1 + 2 * number for number in range(number)]
    sent = [part for stream in streams for part in frames.request(stream, head, body)]
    return [GREETING, b"".join(sent)], {"streams": streams, "is_whole": True}


def continuations(chance, head, body):
    """Heads that do not end, in pieces of nothing and of a byte."""
    block = hpack.write(head)
    more = chance.choice([[b""] * 200, [bytes([octet]) for octet in block], [hpack.write([("x", "y" * 8000)])] * 20])
    return [GREETING, b"".join(frame(frames.CONTINUATION if at else frames.HEADERS, 0, 1, part) for at, part in enumerate(more))], {}


def resets(chance, head, body):
    """Streams that are reset in every state. The last is not."""
    sent = []
    for stream in range(1, 2 * chance.choice([2, 15, 50]), 2):
        started = frames.request(stream, head, body, ends=chance.random() < 0.5)
        sent += started[: chance.randint(1, len(started))]
        sent.append(frame(frames.RESET, 0, stream, struct.pack(">I", chance.choice([0, 8, 99]))))
    return [GREETING, b"".join([*sent, *frames.request(201, head, body)])], {"streams": [201]}


def windows(chance, head, body):
    """Windows of nothing, of a byte at a time, of more than there can be."""
    start = frames.PREFACE + frames.settings(frames.NO_TABLE, (4, chance.choice([0, 1, 100, 2**31 - 1])))
    more = chance.choice([[frames.window(1, 1)] * 300, [frames.window(1, 2**31 - 1)] * 2, [frames.window(1, 0)], [frames.window(0, 0)],
                          [frames.window(0, 2**31 - 1)], [frames.window(1, 1 << 20)], [frames.window(99, 5)]])
    return [start, b"".join(frames.request(1, head, body) + more)], {}


def odd_settings(chance, head, body):
    pairs = chance.choice([[(4, 2**31)], [(5, 1)], [(5, 2**24)], [(2, 2)], [(2, 1)], [(3, 0)], [(6, 0)], [(6, 1)], [(1, 2**32 - 1)], [(99, 1)],
                           [(8, 1)], [(4, 5), (4, 0), (4, 2**31 - 1)] * 50])
    payload = chance.choice([frames.settings(*pairs), frame(frames.SETTINGS, 0, 1), frame(frames.SETTINGS, 0, 0, b"x" * 5),
                             frame(frames.SETTINGS, frames.ACK, 0, b"x" * 6), frames.settings() * 40])
    return [frames.greeting() + payload, b"".join(frames.request(1, head, body))], {}


def odd_heads(chance, head, body):
    """What no request has in its head, or what is missing in it."""
    odd = [("Upper", "x"), ("connection", "close"), ("transfer-encoding", "chunked"), ("te", "gzip"), (":path", "/"), (":status", "200"),
           (":unknown", "x"), ("", "x"), ("x", "a\r\nb"), ("x", "\x00"), ("x" * 20_000, "y"), ("content-length", "5"), ("content-length", "-1"),
           ("host", "other"), ("a b", "x"), ("cookie", "a"), (b"\xff", b"\xfe")]
    head = list(head)
    for _ in range(chance.randint(1, 3)):
        what = chance.randrange(3)
        if what == 0 and head:
            head.pop(chance.randrange(min(4, len(head))))
        elif what == 1:
            head.insert(chance.randint(0, len(head)), chance.choice(odd))
        elif head:
            name, _ = head[0]
            head[0] = (name, chance.choice(["CONNECT", "", "A B", "post", "OPTIONS", "*", "http://x/", "//", "/\x00"]))
    return [GREETING, b"".join(frames.request(1, head, body))], {}


def odd_blocks(chance, head, body):
    """Header blocks that no table explains."""
    block = chance.choice([b"\xff" * 8, b"\x80", b"\xff\xff\xff\xff\xff\x0f", b"\x40\xff\xff\xff\xff\xff\x0f", b"\x3f" + b"\xff" * 10, b"\x20" * 50,
                           b"\x00\x85\xff\xff\xff\xff\xff\x00", b"\xbe" * 100, octets.mutate(chance, hpack.write(head))])
    return [GREETING, frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, block)], {}


def odd_frames(chance, head, body):
    """Frames of a wrong length, on a wrong stream, at a wrong time."""
    kind = chance.choice([*range(10), 10, 255])
    stream = chance.choice([0, 1, 2, 3, 2**31 - 1, 2**32 - 1])
    odd = frame(kind, chance.randrange(256), stream, chance.randbytes(chance.choice([0, 1, 4, 5, 8, 40])))
    sent = frames.request(1, head, body)
    sent.insert(chance.randint(0, len(sent)), chance.choice([odd, b"\xff\xff\xff" + odd[3:], frame(frames.GOAWAY, 0, 0, bytes(8))]))
    return [GREETING, b"".join(sent)], {}


def flipped(chance, head, body):
    data = b"".join(frames.request(1, head, body))
    return [GREETING, octets.mutate(chance, data)], {}


def odd_preface(chance, head, body):
    return [octets.mutate(chance, frames.greeting()), b"".join(frames.request(1, head, body))], {}


def cut_off(chance, head, body):
    data = frames.greeting() + b"".join(frames.request(1, head, body))
    return [data[: chance.randrange(len(data))]], {"closes": True}


def slow(chance, head, body):
    data = b"".join(frames.request(1, head, body))
    step = len(data) // 5 + 1
    return [GREETING, *(piece for at in range(0, len(data), step) for piece in (0.03, data[at:at + step]))], {"is_whole": True}


WAYS = [split, many_streams, continuations, resets, windows, odd_settings, odd_heads, odd_blocks, odd_frames, flipped, odd_preface,
        cut_off, slow]
