"""Asks for health and reflection with gRPC's own packages. Arguments: the address, a key.

Prints one line per subject that was seen to work; any surprise ends the script with a traceback.
"""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

address, key = sys.argv[1:]
SERVICE = "inference.GRPCInferenceService"
SERVING = health_pb2.HealthCheckResponse.SERVING


def health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ["", SERVICE]:
        assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING
    try:
        stub.Check(health_pb2.HealthCheckRequest(service="nowhere"))
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    else:
        raise AssertionError("an unknown service is healthy")


def watch(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service, expected in [("", SERVING), ("nowhere", health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)]:
        statuses = stub.Watch(health_pb2.HealthCheckRequest(service=service))
        assert next(statuses).status == expected
        statuses.cancel()
    # It ends with the time that the caller gives it, or the server.
    statuses = stub.Watch(health_pb2.HealthCheckRequest(), timeout=1)
    try:
        assert [answer.status for answer in statuses] == [SERVING]
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error


def reflection(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    assert {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= services, services
    pool = DescriptorPool(database)
    methods = {method.name for method in pool.FindServiceByName(SERVICE).methods}
    assert {"ServerLive", "ModelInfer", "RepositoryModelLoad"} <= methods, methods


def a_client_made_of_reflection(channel):
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    method = pool.FindServiceByName(SERVICE).FindMethodByName("ModelInfer")
    request, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    call = channel.unary_unary(f"/{SERVICE}/ModelInfer", request.SerializeToString, answer.FromString)
    made = request(model_name="same_int64", id="reflected")
    made.inputs.add(name="x", datatype="INT64", shape=[1, 2]).contents.int64_contents.extend([1, -(2**63)])
    answered, info = call.with_call(made, metadata=[("x-api-key", key), ("x-request-id", "a-call")])
    assert list(answered.outputs[0].contents.int64_contents) == [1, -(2**63)] and answered.id == "reflected", answered
    head = dict(info.initial_metadata())
    assert head["x-request-id"] == "a-call" and "server-timing" in head and "ratelimit" in head, head


with grpc.insecure_channel(address) as channel:
    for subject in [health, watch, reflection, a_client_made_of_reflection]:
        subject(channel)
        print(subject.__name__)
