"""Does with KServe's inference client, unchanged, what its users do. Arguments: the URL, a key.

Prints one line per subject that was seen to work; any surprise ends the script with a traceback.
"""

import asyncio
import sys

import httpx
import numpy as np

from kserve_client import InferenceRESTClient, InferInput, InferRequest, RequestedOutput, RESTConfig

url, key = sys.argv[1:]
HEADERS = {"X-API-Key": key}


def tensor(name, datatype, array, binary):
    made = InferInput(name=name, shape=list(array.shape), datatype=datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def request(model, inputs, outputs=None, parameters=None):
    return InferRequest(model_name=model, infer_inputs=inputs, request_outputs=outputs, parameters=parameters, request_id="7")


async def infer(client, model, inputs, **options):
    answer = await client.infer(url, request(model, inputs, **options), model_name=model, headers=dict(HEADERS))
    assert answer.id == "7" and answer.model_name == model
    return answer


async def health(client):
    assert await client.is_server_live(url) is True
    assert await client.is_server_ready(url) is True
    assert await client.is_model_ready(url, "several", headers=HEADERS) is True
    assert await client.is_model_ready(url, "nowhere", headers=HEADERS) is False


ARRAYS = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], np.uint8),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "FP16": np.array([[1.5, -65504.0]], np.float16),
    "FP32": np.array([[1.1, -3.4e38]], np.float32),
    "FP64": np.array([[1 / 3, 1e308]], np.float64),
    "BYTES": np.array([["ünï", "b"]], np.object_),
}


async def every_datatype(client):
    for datatype, array in ARRAYS.items():
        for binary in [True, False]:
            if datatype == "FP16" and not binary:
                continue
            parameters = {"binary_data_output": binary}
            model = f"same_{datatype.lower()}"
            answer = await infer(client, model, [tensor("x", datatype, array, binary)], parameters=parameters)
            given = array.tolist()
            answered = answer.outputs[0].as_numpy()
            answered = [[v.decode() if isinstance(v, bytes) else v for v in row] for row in answered.tolist()]
            assert answered == given and answer.outputs[0].shape == [1, 2], (datatype, binary, answered)


async def zero_sized_tensors(client):
    # Its client says of an empty binary tensor that it has 0 bytes, and sends neither bytes nor the header.
    for binary in [True, False]:
        x = tensor("x", "FP32", np.zeros([2, 0], np.float32), binary)
        answer = await infer(client, "same_fp32", [x])
        assert answer.outputs[0].shape == [2, 0], answer


async def several_tensors(client):
    inputs = [
        tensor("a", "BOOL", np.array([[True], [False]]), True),
        tensor("c", "BYTES", np.array([["x"], ["y"]], np.object_), False),
        tensor("b", "FP32", np.array([[1, 2], [3, 4]], np.float32), True),
    ]
    answer = await infer(client, "several", inputs, outputs=[RequestedOutput("words"), RequestedOutput("twice")])
    assert [output.name for output in answer.outputs] == ["words", "twice"]
    assert answer.outputs[1].as_numpy().tolist() == [[2, 4], [6, 8]]


async def errors(client):
    for model, inputs, status, words in [
        ("nowhere", [tensor("x", "FP32", np.ones([1, 1], np.float32), True)], 404, "no model 'nowhere'"),
        ("same_fp32", [tensor("z", "FP32", np.ones([1, 1], np.float32), True)], 400, "there is no such input"),
        ("fixed", [tensor("x", "FP32", np.ones([1, 1], np.float32), False)], 400, "FP32[2,3]"),
    ]:
        try:
            await infer(client, model, inputs)
        except httpx.HTTPStatusError as error:
            assert error.response.status_code == status and words in str(error), error
        else:
            raise AssertionError(words)


async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    for subject in [health, every_datatype, zero_sized_tensors, several_tensors, errors]:
        await subject(client)
        print(subject.__name__)
    await client.close()


asyncio.run(main())
