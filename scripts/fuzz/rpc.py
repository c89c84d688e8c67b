"""Calls of gRPC to every method that reflection names: their messages, their framing, their metadata."""

import gzip
import struct

import documents
import frames
import graphs
import octets
from request import Request

TEXTS = ["", "1", "doubler", "several", "nowhere", "inference.GRPCInferenceService", "grpc.health.v1.Health", "é\u0000", "x" * 2000]
TIMEOUTS = ["5S", "1n", "0n", "99999999H", "x", "-1S", "", "123456789S", "20m", "1S, 2S"]

# A stream of answers that ends at no time of its own.
WATCH = "/grpc.health.v1.Health/Watch"


def make(chance, world, number):
    call = chance.choice(world.calls + [each for each in world.calls if each.path.endswith("/ModelInfer")] * 8)
    message = fill(chance, world, call)
    body = framed(chance, mutate(chance, message))
    head = metadata(chance, world, call, number)
    method = "POST" if chance.random() < 0.98 else "GET"
    sent = b"".join(frames.request(1, frames.pseudo(method, call.path, head), body))
    # HTTP/2 itself knows one value of `te`.
    is_whole = ("te", "gzip") not in head
    return Request(number, "grpc", call.path, [frames.greeting() + sent], streams=[1], is_whole=is_whole)


def fill(chance, world, call):
    """A message that the method takes."""
    if call.path.endswith("/ModelInfer"):
        return infer(chance, world, call.message).SerializeToString()
    # Nothing but the one model is loaded and unloaded.
    names = [graphs.SPARE, "nowhere", ""] if "/Repository" in call.path else [*world.models, *TEXTS]
    return some(chance, call.message(), names).SerializeToString()


def infer(chance, world, message):
    inputs = documents.Inputs(chance, world)
    request = message(model_name=inputs.model, model_version=chance.choice(["", "1"]), id="1")
    in_lists = chance.random() < 0.5 and not any(tensor.datatype in ("FP16", "BF16") for tensor, _ in inputs.tensors)
    for (tensor, shape), values, octets in zip(inputs.tensors, inputs.values, inputs.octets()):
        made = request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        if in_lists:
            values = [value.encode() for value in values] if tensor.datatype == "BYTES" else values
            getattr(made.contents, LISTS[tensor.datatype]).extend(values)
        else:
            request.raw_input_contents.append(octets)
    if chance.random() < 0.4:
        unlike(chance, request)
    if chance.random() < 0.2:
        request.parameters[chance.choice(["timeout", "classification", "x"])].int64_param = chance.choice([0, -1, 10**6])
    if chance.random() < 0.2:
        request.outputs.add(name=chance.choice(["y", "nowhere", ""]))
    return request


def unlike(chance, request):
    """Inputs that do not fit the model, or themselves."""
    made = chance.choice(request.inputs)
    what = chance.randrange(7)
    if what == 0:
        made.shape.append(chance.choice([0, 1, -1, 2**31, 2**63 - 1]))
    elif what == 1 and made.shape:
        made.shape[chance.randrange(len(made.shape))] = chance.choice([0, 1, -1, 7, 2**31, 2**62, -(2**63)])
    elif what == 2:
        made.datatype = chance.choice(["", "FP32", "FP64", "BF16", "BYTES", "INT64", "fp32", "STRING", "x" * 300])
    elif what == 3:
        made.name = chance.choice(["", "x", "a", "é\u0000", "x" * 300])
    elif what == 4:
        request.inputs.append(made)
    elif what == 5:
        made.contents.int_contents.append(1)
    elif request.raw_input_contents:
        request.raw_input_contents.append(chance.choice([b"", b"\x00" * 4, b"\xff" * 40]))


LISTS = {"BOOL": "bool_contents", "UINT8": "uint_contents", "INT64": "int64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents",
         "BYTES": "bytes_contents"}


def some(chance, message, names, depth=0):
    """Sets some of a message's fields, whatever they are."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.2 or depth > 3:
            continue
        # The only maps and lists of these requests are parameters, which are all alike.
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for _ in range(chance.choice([0, 1, 40])):
                some(chance, getattr(message, field.name)[chance.choice(TEXTS)], names, depth + 1)
        elif field.message_type is not None:
            some(chance, getattr(message, field.name), names, depth + 1)
        else:
            setattr(message, field.name, plain(chance, field, names))
    return message


def plain(chance, field, names):
    kinds = {field.CPPTYPE_STRING: names, field.CPPTYPE_BOOL: [True, False], field.CPPTYPE_DOUBLE: [0.5, float("nan")]}
    value = chance.choice(kinds.get(field.cpp_type, [0, 1, 2**31 - 1]))
    return value.encode() if field.type == field.TYPE_BYTES else value


def mutate(chance, message):
    """By the bytes, by its fields, or not at all."""
    way = chance.random()
    if way < 0.35:
        return message
    if way < 0.75:
        return octets.mutate(chance, message)
    return fields(chance, message)


def fields(chance, message):
    """Adds what no field, or another than it should be, looks like."""
    more = chance.choice([
        # Groups, deep nesting, unknown fields of every wire type, numbers that are too large, a length beyond the end.
        b"\x0b" * 50, b"\x0b\x0c", b"\x2a\x02" * 200, b"\xf8\xff\xff\xff\x0f\x01", b"\xfa\x07\x03abc", b"\xfd\x07abcd", b"\xf9\x07abcdefgh",
        b"\x08" + b"\xff" * 11, b"\x0a\xff\xff\xff\xff\x07", b"\x00\x00", b"\x07", b"\x2a\x00" * 3000, b"\x3a\x00" * 3000,
        b"\x2a\x06\x1a\x04\xff\xff\xff\x7f", b"\x2a\x0c\x1a\x0a" + b"\xff" * 9 + b"\x01", b"\x12\x01\xff",
    ])
    return message + more if chance.random() < 0.5 else more + message


def framed(chance, message):
    """Five bytes before a message: whether it is compressed, and its length."""
    def prefix(compressed, length):
        return struct.pack(">BI", compressed, length & 0xFFFFFFFF)
    size = len(message)
    if chance.random() < 0.8:
        return prefix(0, size) + message
    packed = gzip.compress(message, mtime=0)
    return chance.choice([
        prefix(0, size + 1) + message, prefix(0, size - 1) + message, prefix(0, 2**32 - 1) + message, prefix(2, size) + message,
        prefix(1, size) + message, prefix(1, len(packed)) + packed, prefix(0, size)[:3], b"", message, prefix(0, 0),
        (prefix(0, size) + message) * 3, prefix(0, size) + message + b"\x00", prefix(0, 60_000) + b"\x0a" * 60_000,
    ])


def metadata(chance, world, call, number):
    usual = world.keys.texts["all"]
    head = [("te", "trailers"), ("content-type", "application/grpc"), ("x-request-id", f"fuzz-{number}"),
            ("x-api-key", usual if chance.random() < 0.9 else chance.choice([world.keys.wrong, world.keys.texts["metrics"], ""]))]
    if call.path == WATCH:
        # It would go on for ever.
        head.append(("grpc-timeout", "50m"))
    elif chance.random() < 0.1:
        head.append(("grpc-timeout", chance.choice(TIMEOUTS)))
    odd = [("content-type", chance.choice(["application/grpc+proto", "application/grpc+json", "application/grpc-web", "application/json", ""])),
           ("grpc-encoding", chance.choice(["gzip", "identity", "x", ""])), ("grpc-accept-encoding", "gzip,x"), ("x-bin", "!!"),
           ("authorization", "Bearer x"), ("cache-control", "only-if-cached"), ("x-request-timeout", "1ms"), ("te", "gzip")]
    if chance.random() < 0.15:
        head = [*head, *chance.sample(odd, chance.randint(1, 2))]
    return head
