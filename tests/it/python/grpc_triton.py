"""Does with Triton's Python client for gRPC, unchanged, what its users do. Arguments: `grpc` or `aio`, the address, a key.

Prints one line per subject that was seen to work; any surprise ends the script with a traceback.
"""

import asyncio
import inspect
import sys

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from v2_arrays import ARRAYS, same

form, address, key = sys.argv[1:]
HEADERS = {"authorization": f"Bearer {key}"}
LIBRARY = {"grpc": tritonclient.grpc, "aio": tritonclient.grpc.aio}[form]


async def done(value):
    """One script for both clients: what the asynchronous one answers has to be waited for."""
    return await value if inspect.isawaitable(value) else value


def tensor(name, array):
    made = LIBRARY.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array)
    return made


async def infer(client, model, inputs, **options):
    options.setdefault("headers", dict(HEADERS))
    return await done(client.infer(model, inputs, **options))


async def refused(call, status, *words):
    """The synchronous client fails when it is called: `call` is what calls it."""
    try:
        await done(call())
    except InferenceServerException as error:
        text = str(error)
        assert error.status() == f"StatusCode.{status}" and all(word in text for word in words), text
        return
    raise AssertionError(f"not refused with {status}")


async def health_and_metadata(client):
    assert await done(client.is_server_live())
    assert await done(client.is_server_ready())
    assert await done(client.is_model_ready("several", headers=HEADERS))
    assert await done(client.is_model_ready("several", "1", headers=HEADERS))
    assert not await done(client.is_model_ready("nowhere", headers=HEADERS))
    server = await done(client.get_server_metadata())
    assert server.name == "glassbox" and "model_repository" in server.extensions, server
    several = await done(client.get_model_metadata("several", headers=HEADERS))
    assert several.platform == "onnx_onnxv1" and several.versions == ["1"], several
    assert [spec.name for spec in several.inputs] == ["b", "a", "c"], several
    opposite = several.outputs[1]
    assert (opposite.name, opposite.datatype, opposite.shape) == ("opposite", "BOOL", [-1, 1]), several


async def every_datatype(client):
    for name, array in ARRAYS.items():
        result = await infer(client, f"same_{name}", [tensor("x", array)], request_id=name)
        assert result.get_response().id == name
        same(name, array, result.as_numpy("y"))
        for empty in [array[:, :0], array[:0]]:
            result = await infer(client, f"same_{name}", [tensor("x", empty)])
            assert result.as_numpy("y").shape == empty.shape, name
    scalar = await infer(client, "scalar", [tensor("x", np.array(1.5, np.float32))])
    assert scalar.as_numpy("y").shape == () and scalar.as_numpy("y") == 1.5


async def several_tensors(client):
    b = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    a = np.array([[True], [False]])
    c = np.array([["x"], ["y"]], np.object_)
    inputs = [tensor("c", c), tensor("a", a), tensor("b", b)]
    wanted = [LIBRARY.InferRequestedOutput("words"), LIBRARY.InferRequestedOutput("twice")]
    result = await infer(client, "several", inputs, outputs=wanted, model_version="1")
    assert [output.name for output in result.get_response().outputs] == ["words", "twice"]
    assert result.as_numpy("twice").tolist() == [[2, 4], [6, 8]] and result.as_numpy("opposite") is None
    assert result.as_numpy("words").tolist() == [[b"x"], [b"y"]]
    result = await infer(client, "several", inputs)
    assert result.as_numpy("opposite").tolist() == [[False], [True]]
    response = result.get_response()
    assert (response.model_name, response.model_version) == ("several", "1")


async def large_tensors(client):
    array = np.arange(2**20, dtype=np.float32).reshape(1024, 1024)
    for compression in [None, "gzip", "deflate"]:
        result = await infer(client, "same_fp32", [tensor("x", array)], compression_algorithm=compression)
        same("fp32", array, result.as_numpy("y"))


async def reserved_parameters(client):
    x = [tensor("x", np.ones([1, 1], np.float32))]
    options = {"sequence_id": 7, "sequence_start": True, "sequence_end": True, "priority": 1, "timeout": 5_000_000}
    result = await infer(client, "same_fp32", x, parameters={"own": "yes", "flag": True, "number": 7}, **options)
    assert result.as_numpy("y").tolist() == [[1]]
    # A microsecond; and nothing that is known already.
    x = [tensor("x", np.full([1, 1], 7, np.float32))]
    await refused(lambda: infer(client, "same_fp32", x, timeout=1), "DEADLINE_EXCEEDED", "deadline")
    result = await infer(client, "same_fp32", x, client_timeout=30)
    assert result.as_numpy("y").tolist() == [[7]]


async def errors(client):
    x = np.ones([1, 2], np.float32)

    async def fails(status, words, model="same_fp32", inputs=None, **options):
        await refused(lambda: infer(client, model, inputs or [tensor("x", x)], **options), status, *words)

    await fails("NOT_FOUND", ["no model 'nowhere'"], model="nowhere")
    await fails("NOT_FOUND", ["version '9'"], model_version="9")
    await fails("INVALID_ARGUMENT", ["there is no such input", "x FP32[rows,columns]"], inputs=[tensor("z", x)])
    await fails("INVALID_ARGUMENT", ["got FP32"], model="same_fp64")
    await fails("INVALID_ARGUMENT", ["x FP32[2,3]"], model="fixed")
    await fails("INVALID_ARGUMENT", ["no such output"], outputs=[LIBRARY.InferRequestedOutput("ü")])
    await fails("UNAUTHENTICATED", ["API key"], headers={})
    await fails("UNAUTHENTICATED", ["API key"], headers={"x-api-key": key + "0"})
    shared = LIBRARY.InferInput("x", [1, 2], "FP32")
    shared.set_shared_memory("region", 8)
    await fails("INVALID_ARGUMENT", ["shared_memory_region"], inputs=[shared])
    classes = [LIBRARY.InferRequestedOutput("y", class_count=2)]
    await fails("INVALID_ARGUMENT", ["classification"], outputs=classes)
    await refused(lambda: client.get_model_metadata("nowhere", headers=HEADERS), "NOT_FOUND", "nowhere")
    await refused(lambda: client.get_system_shared_memory_status(headers=HEADERS), "UNIMPLEMENTED")
    result = await infer(client, "same_fp32", [tensor("x", x)], headers={"x-api-key": key})
    assert result.as_numpy("y").tolist() == [[1, 1]]


async def settings_and_statistics(client):
    config = (await done(client.get_model_config("several", headers=HEADERS))).config
    assert (config.name, config.platform, config.backend) == ("several", "onnx_onnxv1", "onnxruntime"), config
    assert [(spec.name, spec.data_type) for spec in config.input] == [("b", 11), ("a", 1), ("c", 13)], config
    statistics = await done(client.get_inference_statistics("several", headers=HEADERS))
    (several,) = statistics.model_stats
    assert several.inference_count > 0 and several.inference_stats.success.ns > 0, several
    everything = await done(client.get_inference_statistics(headers=HEADERS))
    assert len(everything.model_stats) > 10


async def repository(client):
    async def state():
        index = await done(client.get_model_repository_index(headers=HEADERS))
        return next(model.state for model in index.models if model.name == "deep")

    assert await state() == "READY"
    await done(client.unload_model("deep", headers=HEADERS))
    assert await state() == "UNAVAILABLE"
    assert not await done(client.is_model_ready("deep", headers=HEADERS))
    await done(client.load_model("deep", headers=HEADERS))
    assert await done(client.is_model_ready("deep", headers=HEADERS))
    await refused(lambda: client.load_model("nowhere", headers=HEADERS), "NOT_FOUND", "nowhere")
    changed = lambda: client.load_model("deep", headers=HEADERS, config="{}")
    await refused(changed, "INVALID_ARGUMENT", "as it lies in the repository")


async def main():
    client = LIBRARY.InferenceServerClient(address)
    subjects = [
        health_and_metadata,
        every_datatype,
        several_tensors,
        large_tensors,
        reserved_parameters,
        errors,
        settings_and_statistics,
        repository,
    ]
    for subject in subjects:
        await subject(client)
        print(subject.__name__)
    await done(client.close())


asyncio.run(main())
