"""Frames of HTTP/2 (RFC 9113)."""

import struct

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32

# The header table of this side: there is none, so that a status can be read without one.
NO_TABLE = (1, 0)
MAX_FRAME = 16384


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", name, value) for name, value in pairs))


def window(stream, bytes_more):
    return frame(WINDOW, 0, stream, struct.pack(">I", bytes_more))


def greeting():
    """What opens a connection: windows that no answer fills."""
    return PREFACE + settings(NO_TABLE, (4, 1 << 24)) + window(0, 1 << 24)


def request(stream, headers, body, ends=True):
    """The frames of one request, which ends with its last."""
    block = hpack.write(headers)
    only = not body and ends
    first, rest = block[:MAX_FRAME], [block[at:at + MAX_FRAME] for at in range(MAX_FRAME, len(block), MAX_FRAME)]
    frames = [frame(HEADERS, (END_STREAM if only else 0) | (0 if rest else END_HEADERS), stream, first)]
    frames += [frame(CONTINUATION, END_HEADERS if part is rest[-1] else 0, stream, part) for part in rest]
    return frames if only else frames + body_of(stream, body, ends)


def body_of(stream, body, ends=True):
    parts = [body[at:at + MAX_FRAME] for at in range(0, len(body), MAX_FRAME)] or [b""]
    return [frame(DATA, END_STREAM if ends and part is parts[-1] else 0, stream, part) for part in parts]


def pseudo(method, path, more=()):
    """The head of a request."""
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "127.0.0.1"), *more]


class Reader:
    """What a server sends on one connection."""

    def __init__(self):
        self.buffer, self.block = b"", b""
        self.statuses, self.codes, self.ended = {}, {}, set()
        self.is_over = False

    def feed(self, octets):
        """Takes what came, and returns what is to be sent for it."""
        self.buffer += octets
        replies = []
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
            payload, self.buffer = self.buffer[9:9 + length], self.buffer[9 + length:]
            replies.append(self.take(kind, flags, stream, payload))
        return b"".join(replies)

    def take(self, kind, flags, stream, payload):
        if kind in (HEADERS, CONTINUATION):
            self.block += payload
            if flags & END_HEADERS:
                self.head(stream)
        if kind == RESET or kind in (HEADERS, DATA) and flags & END_STREAM:
            self.ended.add(stream)
        if kind == GOAWAY:
            self.is_over = payload[4:8] != bytes(4)
        if kind == SETTINGS and not flags & ACK:
            return frame(SETTINGS, ACK)
        if kind == PING and not flags & ACK:
            return frame(PING, ACK, 0, payload)
        return window(0, len(payload)) + window(stream, len(payload)) if kind == DATA and payload else b""

    def head(self, stream):
        block, self.block = self.block, b""
        headers = hpack.Reader(block).headers()
        if ":status" in headers:
            self.statuses[stream] = int(headers[":status"])
        if "grpc-status" in headers:
            self.codes[stream] = int(headers["grpc-status"])
