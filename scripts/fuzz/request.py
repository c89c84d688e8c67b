"""A request as it goes over the wire, and the answer to it."""

import dataclasses

# For an answer, in seconds: longer than any limit of the server's, also on a machine with other work.
LONGEST_WAIT = 60


@dataclasses.dataclass
class Request:
    """Bytes to be sent, and pauses in seconds between them."""

    number: int
    kind: str
    # What the counts are kept by.
    route: str
    pieces: list
    # Of every request in the bytes, where HTTP/1.1 is spoken and all are answered.
    methods: list | None = None
    # That are answered, where HTTP/2 is spoken.
    streams: list | None = None
    # Whether nothing but an answer ends it: the request is whole. Any other may be dropped without a word.
    is_whole: bool = True
    # Whether the sending direction is closed behind the last byte.
    closes: bool = False
    # Whether the server alone has to end the connection, by one of its timeouts.
    is_left: bool = False

    def octets(self):
        return b"".join(piece for piece in self.pieces if isinstance(piece, bytes))


@dataclasses.dataclass
class Answer:
    """What came back; without a status, the connection was closed or reset."""

    statuses: list = dataclasses.field(default_factory=list)
    # The code of gRPC, behind a status of 200.
    code: int | None = None
    # Why it is a failure of the server's.
    fault: str | None = None

    def label(self):
        statuses = "+".join(map(str, self.statuses)) if len(self.statuses) < 4 else f"{len(self.statuses)} answers"
        return f"{statuses or 'closed'}" if self.code is None else f"grpc {self.code}"

    def is_internal(self):
        return 500 in self.statuses or self.code in (2, 13)
