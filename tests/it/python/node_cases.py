"""The node tests of the package onnx against a server: each is served as a model of its own and asked for what it recorded.

    node_cases.py make FOLDER FIRST EVERY   writes the case FIRST and every EVERYth after it as a model repository, with
                                            what they are asked and what they recorded
    node_cases.py ask ADDRESS FOLDER        asks a server of that repository, over REST with binary tensors and over gRPC

Both print one line of JSON per case: {"case", "result": "same" | "exception" | "different", "reason"}. An exception is a case
that says nothing about a server: its values are no plain tensors, or Python's onnxruntime itself does not give what is recorded.
"""

import json
import pathlib
import pickle
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

# Values of this protocol.
DATATYPES = {
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
    TensorProto.UINT16: "UINT16",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64",
    TensorProto.INT8: "INT8",
    TensorProto.INT16: "INT16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.FLOAT: "FP32",
    TensorProto.DOUBLE: "FP64",
    TensorProto.STRING: "BYTES",
}


def tell(case, result, reason=""):
    print(json.dumps({"case": case, "result": result, "reason": reason}), flush=True)


def why_not(model):
    """Why a case cannot be asked for with plain tensors, if it cannot."""
    for value in [*model.graph.input, *model.graph.output]:
        if not value.type.HasField("tensor_type"):
            return f"'{value.name}' is no tensor but a {value.type.WhichOneof('value')}"
        if value.type.tensor_type.elem_type not in DATATYPES:
            return f"the protocol has no {TensorProto.DataType.Name(value.type.tensor_type.elem_type)}"
    return None


def array_of(value):
    """Some cases keep tensors in the form of the graph."""
    return onnx.numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def make(folder, first, every):
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases

    folder = pathlib.Path(folder)
    for case in collect_testcases(None)[first::every]:
        reason = why_not(case.model)
        if reason:
            tell(case.name, "exception", reason)
            continue
        version = folder / case.name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(case.model.SerializeToString())
        # One session each: there are hundreds of models.
        (folder / case.name / "model.toml").write_text("execution = { instances = 1 }\n")
        data = [[[array_of(value) for value in values] for values in pair] for pair in case.data_sets]
        kept = {"data": data, "rtol": case.rtol, "atol": case.atol}
        (version / "case.pickle").write_bytes(pickle.dumps(kept))


def ask(address, folder):
    import tritonclient.grpc as grpc
    import tritonclient.http as http
    from tritonclient.utils import InferenceServerException

    rest = http.InferenceServerClient(address, network_timeout=30)
    clients = [(http, rest), (grpc, grpc.InferenceServerClient(address))]
    states = {entry["name"]: entry for entry in rest.get_model_repository_index()}
    for version in sorted(pathlib.Path(folder).glob("*/1")):
        name = version.parent.name
        kept = pickle.loads((version / "case.pickle").read_bytes())
        model = onnx.load(version / "model.onnx")
        try:
            fault = None
            if states[name]["state"] != "READY":
                fault = states[name]["reason"]
            else:
                for library, client in clients:
                    for inputs, outputs in kept["data"]:
                        fault = fault or difference(served(library, client, name, model, inputs), outputs, kept)
        except InferenceServerException as error:
            fault = str(error)
        if fault is None:
            tell(name, "same")
            continue
        library = of_the_library(version / "model.onnx", model, kept)
        tell(name, "exception" if library else "different", library or fault)


def served(library, client, name, model, arrays):
    inputs = []
    for value, array in zip(model.graph.input, arrays):
        made = library.InferInput(value.name, list(array.shape), DATATYPES[value.type.tensor_type.elem_type])
        made.set_data_from_numpy(array)
        inputs.append(made)
    # The second to ask is not told what the first one was.
    answer = client.infer(name, inputs, headers={"cache-control": "no-store"})
    return [answer.as_numpy(value.name) for value in model.graph.output]


def difference(got, recorded, kept):
    for place, (one, other) in enumerate(zip(got, recorded)):
        if one.shape != other.shape:
            return f"output {place} has the shape {list(one.shape)} and not {list(other.shape)}"
        if other.dtype.kind in "OUS":
            words = [value.decode() if isinstance(value, bytes) else value for value in one.flatten()]
            recorded_words = [value.decode() if isinstance(value, bytes) else value for value in other.flatten()]
            if words != recorded_words:
                return f"output {place} has other strings"
            continue
        if one.dtype != other.dtype:
            return f"output {place} is {one.dtype} and not {other.dtype}"
        if one.dtype.kind not in "biuf":
            one, other = one.astype(np.float32), other.astype(np.float32)
        if not np.allclose(one, other, rtol=kept["rtol"], atol=kept["atol"], equal_nan=True):
            return f"output {place} has other values"
    return None


def of_the_library(path, model, kept):
    """What Python's onnxruntime makes of a case, if that is not what is recorded."""
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for inputs, outputs in kept["data"]:
            feeds = {value.name: array for value, array in zip(model.graph.input, inputs)}
            fault = difference([np.asarray(value) for value in session.run(None, feeds)], outputs, kept)
            if fault:
                return f"ONNX Runtime: {fault}"
    except Exception as error:
        words = " ".join(str(error).split())
        return f"ONNX Runtime: {words.replace(str(path), 'model.onnx')[:160]}"
    return None


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], *map(int, sys.argv[3:5]))
    else:
        ask(*sys.argv[2:4])
