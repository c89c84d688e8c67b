"""The models: one session each, loaded when a worker starts."""

import tomllib
from pathlib import Path

import numpy
import onnxruntime

from .settings import settings


class Model:
    """A graph and how its output is read."""

    def __init__(self, folder: Path) -> None:
        self.manifest = tomllib.loads((folder / "model.toml").read_text())
        self.name = folder.name
        self.version = default_version(folder, self.manifest)
        self.labels: list[str] = self.manifest.get("labels", [])
        self.text = self.manifest.get("text")
        self.output = self.manifest.get("output", {}).get("name")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.intra_threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            folder / self.version / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self.input = self.session.get_inputs()[0].name
        self.outputs = [self.output or self.session.get_outputs()[0].name]

    def predict_texts(self, texts: list[str]) -> list[dict]:
        """One prediction per text."""
        if self.text is None:
            raise ValueError(f"{self.name} takes numbers")
        if self.text.get("lowercase"):
            texts = [text.lower() for text in texts]
        rows = numpy.array(texts, dtype=object).reshape(-1, 1)
        (probabilities,) = self.session.run(self.outputs, {self.input: rows})
        return [self._classes(row) for row in probabilities.tolist()]

    def predict_rows(self, rows: list[list[float]]) -> list[list[float]]:
        """One prediction per row of numbers."""
        if self.text is not None:
            raise ValueError(f"{self.name} takes text")
        (values,) = self.session.run(self.outputs, {self.input: numpy.array(rows, dtype=numpy.float32)})
        return values.tolist()

    def info(self) -> dict:
        """What callers may want to know."""
        return {
            "name": self.name,
            "version": self.version,
            "description": self.manifest.get("description"),
            "task": self.manifest.get("task", "tensor"),
            "labels": self.labels,
            "inputs": [{"name": i.name, "type": i.type, "shape": i.shape} for i in self.session.get_inputs()],
        }

    def _classes(self, probabilities: list[float]) -> dict:
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        return {
            "label": self.labels[best],
            "confidence": probabilities[best],
            "probabilities": dict(zip(self.labels, probabilities)),
        }


def default_version(folder: Path, manifest: dict) -> str:
    """The one that the manifest names, or the newest."""
    newest = max((path.parent.name for path in folder.glob("[0-9]*/model.onnx")), key=int)
    return manifest.get("versions", {}).get("default", newest)


def load_models() -> dict[str, Model]:
    """Every folder that holds a manifest and a graph for texts or numbers."""
    folders = (path.parent for path in sorted(settings.models.glob("*/model.toml")))
    return {folder.name: load(folder) for folder in folders if any(folder.glob("[0-9]*/model.onnx"))}


def load(folder: Path) -> Model:
    """The kind of model that the manifest asks for."""
    from .encoder import Encoder  # here, because Encoder is a Model

    manifest = tomllib.loads((folder / "model.toml").read_text())
    return Encoder(folder) if "tokenizer" in manifest.get("text", {}) else Model(folder)
