"""Sends a request over a connection of its own, and reads what is answered."""

import contextlib
import json
import re
import socket
import struct
import time
import zlib

import frames
from request import LONGEST_WAIT, Answer

# How long a server that owes nothing is listened to, in seconds.
QUIET = 0.2


class Ended(Exception):
    """The other side closed the connection, or reset it."""


class Silent(Exception):
    """Nothing comes."""


class Connection:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=LONGEST_WAIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.end = time.monotonic() + LONGEST_WAIT
        self.buffer = b""

    def close(self):
        # No port waits for what may still be under way: thousands of these are opened.
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, octets):
        with contextlib.suppress(OSError):
            # Not longer than the server listens: it may have answered, and closed.
            self.socket.settimeout(LONGEST_WAIT)
            self.socket.sendall(octets)

    def receive(self, patience=None):
        """What comes next. Nothing for as long as `patience` is silence."""
        left = self.end - time.monotonic()
        wait = left if patience is None else min(left, patience)
        if wait <= 0:
            raise Silent
        self.socket.settimeout(wait)
        try:
            octets = self.socket.recv(1 << 16)
        except TimeoutError:
            raise Silent from None
        except OSError:
            raise Ended from None
        if not octets:
            raise Ended
        return octets

    def until(self, mark):
        while mark not in self.buffer:
            self.buffer += self.receive()
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def exactly(self, count):
        while len(self.buffer) < count:
            self.buffer += self.receive()
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found


def exchange(address, request):
    """The answer. That none comes to a whole request, or no end to one that is left, is a fault."""
    connection, answer = Connection(address), Answer()
    try:
        read = http2 if request.streams else http1 if request.methods else anything
        reader = frames.Reader()
        for piece in request.pieces:
            if isinstance(piece, bytes):
                connection.send(piece)
            else:
                time.sleep(piece)
        if request.closes:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
        read(connection, request, answer, reader)
    except Ended:
        if request.is_whole:
            answer.fault = "closed without an answer"
    except Silent:
        if request.is_whole or request.is_left:
            answer.fault = f"no answer, and no end, within {LONGEST_WAIT} s"
    finally:
        connection.close()
    return answer


def http1(connection, request, answer, _):
    for method in request.methods:
        status, headers = 100, {}
        while status < 200 and status != 101:
            head = connection.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            status = int(head[0].split(" ")[1])
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        answer.statuses.append(status)
        body = b"" if method == "HEAD" or status in (101, 204, 304) else whole_body(connection, headers)
        answer.fault = answer.fault or unlike(headers, body)
        if headers.get("connection", "").lower() == "close":
            return


def whole_body(connection, headers):
    if "chunked" in headers.get("transfer-encoding", ""):
        parts = []
        while size := int(connection.until(b"\r\n"), 16):
            parts.append(connection.exactly(size + 2)[:-2])
        connection.until(b"\r\n")
        return b"".join(parts)
    if "content-length" in headers:
        return connection.exactly(int(headers["content-length"]))
    body = b""
    with contextlib.suppress(Ended):
        while True:
            body += connection.receive()
    return body


def unlike(headers, body):
    """Why a body is not what its headers say; None when it is."""
    media_type = headers.get("content-type", "")
    if not body or not (media_type.endswith("json") and "ndjson" not in media_type):
        return None
    try:
        json.loads(zlib.decompress(body, 31) if headers.get("content-encoding") == "gzip" else body)
    except (ValueError, zlib.error) as error:
        return f"a body of {media_type} that is none: {error}"


def http2(connection, request, answer, reader):
    patience = None if request.is_whole else QUIET
    wanted = set(request.streams)
    try:
        while not wanted <= reader.ended and not reader.is_over:
            reply = reader.feed(connection.receive(patience))
            if reply:
                connection.send(reply)
    finally:
        answer.statuses = [reader.statuses[stream] for stream in sorted(reader.statuses)]
        if request.is_whole and not wanted <= set(reader.statuses):
            answer.fault = "a stream was reset without an answer"
        codes = [code for _, code in sorted(reader.codes.items())]
        answer.code = codes[0] if codes else None


def anything(connection, request, answer, _):
    """Reads to the end of the connection, or until nothing more comes; statuses are found by their looks."""
    octets = b""
    try:
        while True:
            octets += connection.receive(None if request.is_left else QUIET if not request.closes else 5)
    finally:
        answer.statuses = [int(status) for status in re.findall(rb"(?:^|(?<=[}\n]))HTTP/1\.1 ([2-5]\d\d)", octets)]
