"""Does with KServe's inference client for gRPC, unchanged, what its users do. Arguments: the address, a key.

Prints one line per subject that was seen to work; any surprise ends the script with a traceback.
"""

import asyncio
import logging
import sys

import grpc
import numpy as np

from kserve_client import InferenceGRPCClient, InferInput, InferRequest, RequestedOutput

address, key = sys.argv[1:]
HEADERS = (("x-api-key", key),)
# It logs each failure with its traceback.
logging.disable()


def tensor(name, datatype, array, binary):
    made = InferInput(name=name, shape=list(array.shape), datatype=datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


async def infer(client, model, inputs, **options):
    request = InferRequest(model_name=model, infer_inputs=inputs, request_id="7", **options)
    answer = await client.infer(request, headers=HEADERS)
    assert answer.id == "7" and answer.model_name == model
    return answer


async def health(client):
    assert await client.is_server_live() is True
    assert await client.is_server_ready() is True
    assert await client.is_model_ready("several", headers=HEADERS) is True
    assert await client.is_model_ready("nowhere", headers=HEADERS) is False


ARRAYS = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 2**16 - 1]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "FP16": np.array([[1.5, -65504.0]], np.float16),
    "FP32": np.array([[1.1, -3.4e38]], np.float32),
    "FP64": np.array([[1 / 3, 1e308]], np.float64),
    "BYTES": np.array([["ünï", "b"]], np.object_),
}


def values(output):
    return [[v.decode() if isinstance(v, bytes) else v for v in row] for row in output.as_numpy().tolist()]


async def every_datatype(client):
    for datatype, array in ARRAYS.items():
        answer = await infer(client, f"same_{datatype.lower()}", [tensor("x", datatype, array, True)])
        assert values(answer.outputs[0]) == array.tolist() and answer.outputs[0].shape == [1, 2], (datatype, answer)


async def lists_of_numbers(client):
    for datatype, array in ARRAYS.items():
        if datatype == "FP16":
            continue
        answer = await infer(client, f"same_{datatype.lower()}", [tensor("x", datatype, array, False)])
        # As it came, so it goes.
        assert answer.outputs[0].data is not None, answer
        assert values(answer.outputs[0]) == array.tolist() and answer.outputs[0].shape == [1, 2], (datatype, answer)


async def zero_sized_tensors(client):
    for binary in [True, False]:
        answer = await infer(client, "same_fp32", [tensor("x", "FP32", np.zeros([2, 0], np.float32), binary)])
        assert answer.outputs[0].shape == [2, 0], answer


async def errors(client):
    x = tensor("x", "FP32", np.ones([1, 2], np.float32), False)
    for model, options, code, words in [
        ("nowhere", {}, "NOT_FOUND", "no model 'nowhere'"),
        ("same_fp32", {"model_version": "9"}, "NOT_FOUND", "version '9'"),
        ("same_fp64", {}, "INVALID_ARGUMENT", "got FP32"),
        ("same_fp32", {"request_outputs": [RequestedOutput("z")]}, "INVALID_ARGUMENT", "no such output"),
    ]:
        try:
            await infer(client, model, [x], **options)
        except grpc.RpcError as error:
            assert error.code().name == code and words in error.details(), error
            assert dict(error.trailing_metadata())["error-code"] in ["model_not_found", "invalid_input"], error
        else:
            raise AssertionError(f"{model} was not refused")


async def main():
    async with InferenceGRPCClient(address) as client:
        for subject in [health, every_datatype, lists_of_numbers, zero_sized_tensors, errors]:
            await subject(client)
            print(subject.__name__)


asyncio.run(main())
