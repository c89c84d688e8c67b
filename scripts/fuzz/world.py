"""What can be asked of a server, found out by asking it: the routes of its description, the methods of its gRPC services, and
the inputs of its models.
"""

import dataclasses

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


@dataclasses.dataclass
class Operation:
    """One method of one path."""

    name: str
    method: str
    path: str
    queries: list
    has_body: bool


@dataclasses.dataclass
class Call:
    """One method of one gRPC service."""

    path: str
    message: type
    is_stream: bool


@dataclasses.dataclass
class Tensor:
    """An input of a model; -1 in its shape is any size."""

    name: str
    datatype: str
    shape: list


@dataclasses.dataclass
class World:
    seed: int
    keys: object
    operations: list
    calls: list
    # The inputs of each model, and the names of those that take texts.
    models: dict
    texts: list

    # Stands in texts that requests carry, and nowhere else. Found outside of answers, it is a leak.
    @property
    def canary(self):
        return f"canary-{self.keys.digest(f'canary {self.seed}')[:24]}"

    @property
    def predicting(self):
        """The operations that run models."""
        return [self.operation(name) for name in ("predict", "predict_batch", "embeddings", "model_infer", "model_version_infer")]

    def operation(self, name):
        return next(each for each in self.operations if each.name == name)


def explore(server, seed):
    operations = [operation for path, methods in sorted(server.get("/openapi.json")[1]["paths"].items())
                  for operation in of_path(path, methods)]
    documents = [server.get(f"/v1/models/{model['name']}")[1] for model in server.get("/v1/models")[1]["models"]]
    ready = [document for document in documents if document["state"] == "ready"]
    models = {document["name"]: [Tensor(each["name"], each["datatype"], each["shape"]) for each in document["inputs"]]
              for document in ready}
    texts = [document["name"] for document in ready if document.get("text")]
    return World(seed, server.keys, operations, sorted(calls(server.address), key=lambda call: call.path), models, texts)


def of_path(path, methods):
    for method, operation in methods.items():
        queries = [parameter["name"] for parameter in operation.get("parameters", []) if parameter.get("in") == "query"]
        yield Operation(operation["operationId"], method.upper(), path, queries, "requestBody" in operation)


def calls(address):
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        for service in database.get_services():
            for method in pool.FindServiceByName(service).methods:
                yield Call(f"/{service}/{method.name}", GetMessageClass(method.input_type), method.server_streaming)
