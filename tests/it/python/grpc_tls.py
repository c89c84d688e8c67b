"""Calls over TLS with Triton's Python client. Arguments: the address, the file of the certificate to believe."""

import sys

import numpy as np
import tritonclient.grpc

address, certificate = sys.argv[1:]
with tritonclient.grpc.InferenceServerClient(address, ssl=True, root_certificates=certificate) as client:
    x = tritonclient.grpc.InferInput("x", [1, 1], "FP32")
    x.set_data_from_numpy(np.array([[7]], np.float32))
    assert client.is_server_ready() and client.infer("same_fp32", [x]).as_numpy("y").tolist() == [[7]]
print("served")
