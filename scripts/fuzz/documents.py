"""Bodies that the routes take as they are: what the mutations begin with."""

import dataclasses
import struct

import graphs
from trees import tree

FORMATS = {"FP32": "f", "FP64": "d", "FP16": "e", "INT64": "q", "UINT8": "B", "BOOL": "?"}

SIZES = [1, 1, 2, 3, 3, 2, 1, 3, 2, 0, 9]

# The end of a text may be cut off, and short pieces moved: it takes more to make a name of what is planted.
FILLER = "the film was not a good film and " * 4


def sentence(chance, world):
    """A text of words, or one that carries the canary."""
    if chance.random() < 0.3:
        return FILLER + world.canary
    words = [chance.choice(graphs.WORDS + ["you", "awful", "🙂", "日本", "é"]) for _ in range(chance.randint(1, 12))]
    return " ".join(words)


class Inputs:
    """Values for every input of one model, in each of the forms that the protocols have."""

    def __init__(self, chance, world, model=None):
        self.chance, self.world = chance, world
        self.model = model or chance.choice([name for name in world.models if name != graphs.SPARE])
        # One size for all dimensions that have none, as most graphs want it; or one for each.
        size, is_same = chance.choice(SIZES), chance.random() < 0.9
        self.tensors = [(tensor, [dim if dim >= 0 else size if is_same else chance.choice(SIZES) for dim in tensor.shape])
                        for tensor in world.models[self.model]]
        self.values = [[self.value(tensor.datatype) for _ in range(count(shape))] for tensor, shape in self.tensors]

    def value(self, datatype):
        if datatype == "BYTES":
            return sentence(self.chance, self.world)
        if datatype == "BOOL":
            return self.chance.random() < 0.5
        return round(self.chance.uniform(-4, 4), 3) if "F" in datatype else self.chance.randint(0, 5)

    def nested(self):
        """As `/v1` takes them."""
        lists = {tensor.name: nest(list(values), shape) for (tensor, shape), values in zip(self.tensors, self.values)}
        return next(iter(lists.values())) if len(lists) == 1 else lists

    def listed(self, with_data=True):
        """As `/v2` takes them."""
        entries = [{"name": tensor.name, "datatype": tensor.datatype, "shape": shape} for tensor, shape in self.tensors]
        for entry, values, octets in zip(entries, self.values, self.octets()):
            entry |= {"data": values} if with_data else {"parameters": {"binary_data_size": len(octets)}}
        return entries

    def octets(self):
        """The bytes of each: little-endian, a length before each text."""
        return [encode(tensor.datatype, values) for (tensor, _), values in zip(self.tensors, self.values)]


def count(shape):
    product = 1
    for dim in shape:
        product *= dim
    return product


def nest(values, shape):
    if not shape:
        return values[0]
    step = count(shape[1:])
    return [nest(values[place * step:(place + 1) * step], shape[1:]) for place in range(shape[0])]


def encode(datatype, values):
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in values)
    if datatype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{FORMATS[datatype]}", *values)


@dataclasses.dataclass
class Body:
    """A JSON document, the bytes behind it, and the model that the path names."""

    document: object
    octets: bytes = b""
    model: str | None = None


def body(chance, world, operation):
    """A body that the operation takes."""
    makes = {"predict": predict, "predict_batch": predict_batch, "embeddings": embeddings, "model_infer": infer,
             "model_version_infer": infer}
    return makes.get(operation.name, settings)(chance, world)


def settings(chance, _):
    """For the routes whose body may be left out."""
    documents = [{"ready": True}, {"log_info": True}, {"trace_rate": "0"}, {"trace_level": ["OFF"]}, {"parameters": {"x": 1}}, {}]
    return Body(tree(chance.choice(documents)))


def predict(chance, world):
    if chance.random() < 0.4:
        return Body(tree({"model": chance.choice(world.texts), "text": sentence(chance, world)}))
    inputs = Inputs(chance, world)
    return Body(tree({"model": inputs.model, "version": "1", "input": inputs.nested()}))


def predict_batch(chance, world):
    number = chance.choice([1, 2, 5, 70])
    if chance.random() < 0.4:
        texts = [sentence(chance, world) for _ in range(number)]
        return Body(tree({"model": chance.choice(world.texts), "texts": texts}))
    model = Inputs(chance, world).model
    return Body(tree({"model": model, "inputs": [Inputs(chance, world, model).nested() for _ in range(number)]}))


def embeddings(chance, world):
    text = sentence(chance, world)
    form = chance.choice(["float", "base64"])
    return Body(tree({"model": "vectors", "input": chance.choice([text, [text, "the"]]), "encoding_format": form}))


def infer(chance, world):
    inputs = Inputs(chance, world)
    binary = chance.random() < 0.5
    document = {"id": "1", "inputs": inputs.listed(not binary)}
    if chance.random() < 0.3:
        document["parameters"] = {"binary_data_output": chance.random() < 0.5, "timeout": 10**7}
    if chance.random() < 0.2:
        document["outputs"] = [{"name": "y", "parameters": {"binary_data": True}}]
    return Body(tree(document), b"".join(inputs.octets()) if binary else b"", inputs.model)
