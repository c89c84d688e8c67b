"""Does with Triton's Python client, unchanged, what its users do. Arguments: `http` or `aio`, the address, a key.

Prints one line per subject that was seen to work; any surprise ends the script with a traceback.
"""

import asyncio
import inspect
import sys

import numpy as np
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from v2_arrays import ARRAYS, same

form, address, key = sys.argv[1:]
HEADERS = {"Authorization": f"Bearer {key}"}
LIBRARY = {"http": tritonclient.http, "aio": tritonclient.http.aio}[form]


async def done(value):
    """One script for both clients: what the asynchronous one answers has to be waited for."""
    return await value if inspect.isawaitable(value) else value


def tensor(name, array, binary=True):
    made = LIBRARY.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array, binary_data=binary)
    return made


async def infer(client, model, inputs, **options):
    options.setdefault("headers", dict(HEADERS))
    return await done(client.infer(model, inputs, **options))


async def metadata(client, model):
    return await done(client.get_model_metadata(model, headers=HEADERS))


async def refused(call, status, *words):
    try:
        await done(call)
    except InferenceServerException as error:
        text = str(error)
        assert f"[{status}]" in text and all(word in text for word in words), text
        assert "an exception occurred in the client" not in text, text
        return
    raise AssertionError(f"not refused with {status}")


async def health_and_metadata(client):
    assert await done(client.is_server_live())
    assert await done(client.is_server_ready())
    assert await done(client.is_model_ready("several", headers=HEADERS))
    assert await done(client.is_model_ready("several", "1", headers=HEADERS))
    assert not await done(client.is_model_ready("nowhere", headers=HEADERS))
    server = await done(client.get_server_metadata())
    assert server["name"] == "glassbox" and "binary_tensor_data" in server["extensions"], server
    several = await metadata(client, "several")
    assert several["platform"] == "onnx_onnxv1" and several["versions"] == ["1"], several
    assert [spec["name"] for spec in several["inputs"]] == ["b", "a", "c"], several
    assert several["outputs"][1] == {"name": "opposite", "datatype": "BOOL", "shape": [-1, 1]}, several


HALVES = {"fp16", "bf16"}


async def every_datatype(client):
    for name, array in ARRAYS.items():
        result = await infer(client, f"same_{name}", [tensor("x", array)], request_id=name)
        assert result.get_response()["id"] == name
        same(name, array, result.as_numpy("y"))
        empty = array[:, :0]
        result = await infer(client, f"same_{name}", [tensor("x", empty)])
        assert result.as_numpy("y").shape == empty.shape, name
        no_rows = array[:0]
        result = await infer(client, f"same_{name}", [tensor("x", no_rows)])
        assert result.as_numpy("y").shape == no_rows.shape, name


async def json_tensors(client):
    wanted = [LIBRARY.InferRequestedOutput("y", binary_data=False)]
    for name, array in ARRAYS.items():
        if name in HALVES:
            call = infer(client, f"same_{name}", [tensor("x", array)], outputs=wanted)
            await refused(call, 400, "no form in JSON", "binary_data")
            if name == "fp16":
                call = infer(client, f"same_{name}", [tensor("x", array, binary=False)])
                await refused(call, 400, "FP16 has no form in JSON")
            continue
        # What JSON has no word for is sent as binary alone.
        array = array[:, :2]
        result = await infer(client, f"same_{name}", [tensor("x", array, binary=False)], outputs=wanted)
        assert "data" in result.get_output("y"), result.get_response()
        same(name, array, result.as_numpy("y"))


async def several_tensors(client):
    b = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    a = np.array([[True], [False]])
    c = np.array([["x"], ["y"]], np.object_)
    wanted = [LIBRARY.InferRequestedOutput("words", binary_data=False), LIBRARY.InferRequestedOutput("twice")]
    # Binary and JSON in one request, and in an order of the caller's.
    inputs = [tensor("c", c), tensor("a", a, binary=False), tensor("b", b)]
    result = await infer(client, "several", inputs, outputs=wanted, model_version="1")
    assert [output["name"] for output in result.get_response()["outputs"]] == ["words", "twice"]
    assert result.as_numpy("twice").tolist() == [[2, 4], [6, 8]] and result.as_numpy("opposite") is None
    assert result.as_numpy("words").tolist() == [["x"], ["y"]]
    result = await infer(client, "several", inputs)
    assert result.as_numpy("opposite").tolist() == [[False], [True]]


async def compression(client):
    array = np.zeros([64, 4096], np.float32) + 0.5
    for algorithm in ["gzip", "deflate"]:
        for binary in [True, False]:
            inputs = [tensor("x", array if binary else array[:1, :64], binary=binary)]
            options = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
            result = await infer(client, "same_fp32", inputs, **options)
            assert (result.as_numpy("y") == 0.5).all(), algorithm


async def reserved_parameters(client):
    x = [tensor("x", np.ones([1, 1], np.float32))]
    options = {"sequence_id": 7, "sequence_start": True, "sequence_end": True, "priority": 1, "timeout": 5_000_000}
    result = await infer(client, "same_fp32", x, parameters={"own": "yes", "number": 1.5, "flag": True}, **options)
    assert result.as_numpy("y").tolist() == [[1]]
    # A microsecond; and nothing that is known already.
    x = [tensor("x", np.full([1, 1], 7, np.float32))]
    await refused(infer(client, "same_fp32", x, timeout=1), 504, "deadline")


async def repository(client):
    index = await done(client.get_model_repository_index(headers=HEADERS))
    own = [entry for entry in index if entry["name"] == "deep"]
    assert own == [{"name": "deep", "version": "1", "state": "READY", "reason": ""}], own
    await done(client.unload_model("deep", headers=HEADERS))
    assert not await done(client.is_model_ready("deep", headers=HEADERS))
    index = await done(client.get_model_repository_index(headers=HEADERS))
    assert ("deep", "UNAVAILABLE") in [(entry["name"], entry["state"]) for entry in index], index
    await refused(infer(client, "deep", [tensor("x", np.ones([1, 2, 1, 1], np.float32))]), 503, "unloaded")
    await done(client.load_model("deep", headers=HEADERS))
    assert await done(client.is_model_ready("deep", headers=HEADERS))
    result = await infer(client, "deep", [tensor("x", np.ones([3, 2, 0, 1], np.float32))])
    assert result.as_numpy("y").shape == (3, 2, 0, 1)
    await refused(load(client, "nowhere"), 404, "nowhere")
    await refused(load(client, "deep", config="{}"), 400, "as it lies in the repository")


async def load(client, model, **options):
    await done(client.load_model(model, headers=HEADERS, **options))


async def statistics_and_configuration(client):
    for value in [11, 12, 11]:
        await infer(client, "scalar", [tensor("x", np.array(value, np.float32))])
    stats = (await done(client.get_inference_statistics("scalar", headers=HEADERS)))["model_stats"][0]
    assert (stats["inference_count"], stats["execution_count"]) == (2, 2), stats
    counts = {name: tally["count"] for name, tally in stats["inference_stats"].items()}
    computed = {name: 2 for name in ["compute_input", "compute_infer", "compute_output", "cache_miss"]}
    assert counts == {"success": 3, "fail": 0, "queue": 3, "cache_hit": 1, **computed}, counts
    assert stats["batch_stats"][0]["compute_infer"]["count"] == 2, stats
    every = (await done(client.get_inference_statistics(headers=HEADERS)))["model_stats"]
    assert {"scalar", "several"} < {stats["name"] for stats in every}
    one = await done(client.get_inference_statistics("scalar", "1", headers=HEADERS))
    assert one["model_stats"][0]["version"] == "1", one

    config = await done(client.get_model_config("several", headers=HEADERS))
    assert (config["name"], config["platform"], config["backend"]) == ("several", "onnx_onnxv1", "onnxruntime"), config
    rows = config["max_batch_size"]
    assert rows > 0 and config["input"][0] == {"name": "b", "data_type": "TYPE_FP32", "dims": [2]}, config
    config = await done(client.get_model_config("fixed", "1", headers=HEADERS))
    assert config["max_batch_size"] == 0 and config["output"][0]["dims"] == [2, 3], config


async def errors(client):
    x = np.ones([1, 2], np.float32)
    await refused(infer(client, "nowhere", [tensor("x", x)]), 404, "no model 'nowhere'")
    await refused(infer(client, "same_fp32", [tensor("x", x)], model_version="9"), 404, "version '9'")
    await refused(infer(client, "same_fp32", [tensor("z", x)]), 400, "there is no such input", "x FP32[rows,columns]")
    await refused(infer(client, "same_fp64", [tensor("x", x)]), 400, "got FP32")
    await refused(infer(client, "fixed", [tensor("x", x)]), 400, "x FP32[2,3]")
    unknown = [LIBRARY.InferRequestedOutput("z")]
    await refused(infer(client, "same_fp32", [tensor("x", x)], outputs=unknown), 400, "no such output")
    await refused(infer(client, "same_fp32", [tensor("x", x)], headers={}), 401, "API key")
    shared = LIBRARY.InferInput("x", [1, 2], "FP32")
    shared.set_shared_memory("region", 8)
    await refused(infer(client, "same_fp32", [shared]), 400, "shared_memory_region")
    await refused(metadata(client, "nowhere"), 404, "nowhere")


async def main():
    client = LIBRARY.InferenceServerClient(address)
    subjects = [health_and_metadata, every_datatype, json_tensors, several_tensors, compression, reserved_parameters]
    subjects += [repository, statistics_and_configuration, errors]
    for subject in subjects:
        await subject(client)
        print(subject.__name__)
    await done(client.close())


asyncio.run(main())
