"""Calls without end while the server is asked to stop. Arguments: the address, the server's process id.

Prints a line for the watcher of its health and one for the callers; any surprise ends the script with a traceback.
"""

import os
import signal
import sys
import threading
import time

import grpc
import numpy as np
import tritonclient.grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.utils import InferenceServerException

address, server = sys.argv[1:]
CALLERS = 16
DELAY = 1.0
LIMIT = 60

answered = [0] * CALLERS
ended = [None] * CALLERS
statuses = []


def call(number):
    """One connection, for as long as the server does not end it; a new one then, until nobody listens any more."""
    # Connections of their own, and no waiting between two attempts to connect.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 1), ("grpc.keepalive_time_ms", 1000)]
    with tritonclient.grpc.InferenceServerClient(address, channel_args=options) as client:
        while True:
            values = np.array([[number, answered[number]]], np.int64)
            x = tritonclient.grpc.InferInput("x", [1, 2], "INT64")
            x.set_data_from_numpy(values)
            try:
                result = client.infer("same_int64", [x])
            except InferenceServerException as error:
                ended[number] = (time.monotonic(), error.status(), str(error))
                return
            assert (result.as_numpy("y") == values).all()
            answered[number] += 1


def watch():
    with grpc.insecure_channel(address) as channel:
        try:
            for answer in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
                statuses.append(answer.status)
        except grpc.RpcError as error:
            statuses.append(error)


watcher = threading.Thread(target=watch, daemon=True)
callers = [threading.Thread(target=call, args=[number], daemon=True) for number in range(CALLERS)]
for thread in [watcher, *callers]:
    thread.start()
begun = time.monotonic()
while min(answered) < 20 or not statuses:
    assert time.monotonic() < begun + LIMIT, answered
    time.sleep(0.005)
os.kill(int(server), signal.SIGTERM)
told = time.monotonic()

watcher.join(LIMIT)
response = health_pb2.HealthCheckResponse
assert statuses == [response.SERVING, response.NOT_SERVING], statuses
print("watcher")
for thread in callers:
    thread.join(LIMIT)
for last in ended:
    assert last is not None, "a caller never ended"
    moment, status, words = last
    assert status == "StatusCode.UNAVAILABLE" and "onnect" in words, words
    assert moment > told + DELAY, f"refused within drain.delay: {words}"
print("callers")
