"""What is measured: a model, its bodies, and how many predictions each of them asks for."""

from dataclasses import dataclass
from pathlib import Path

from . import bodies

DISTINCT = 4000


@dataclass(frozen=True)
class Subject:
    """One kind of request."""

    name: str
    model: str
    file: Path
    batch: int = 1
    hit: bool = False
    # Not 0: the file is one body in binary, and so many bytes of JSON stand in front of its tensors.
    json_length: int = 0


class Subjects:
    """Writes the bodies once, into the run's folder."""

    def __init__(self, folder):
        self.folder = folder
        self.texts, self.rows = bodies.texts(DISTINCT), bodies.rows(DISTINCT)

    def hit(self):
        """The same short text again and again."""
        return self._subject("cache hit", "toxicity", [bodies.dump({"model": "toxicity", "text": "you are awful"})], hit=True)

    def linear_regression(self, batch=1):
        return self._items("linear_regression", self.rows, "input", batch)

    def toxicity(self, batch=1):
        return self._items("toxicity", self.texts, "text", batch)

    def minilm(self, batch=1):
        return self._items("toxicity-minilm", self.texts, "text", batch)

    def of(self, name, lines, model="toxicity", batch=1):
        """Bodies of a part's own."""
        return self._subject(name, model, lines, batch)

    def binary(self, name, model, json, tensors):
        """One body of the Open Inference Protocol: JSON, and behind it tensors in binary."""
        path = self.folder / (name.replace(" ", "-") + ".body")
        path.write_bytes(json + tensors)
        return Subject(name, model, path, json_length=len(json))

    def _items(self, model, items, field, batch):
        if batch == 1:
            return self._subject(model, model, bodies.single(model, items, field))
        return self._subject(f"{model} batch {batch}", model, bodies.batches(model, items, f"{field}s", batch), batch)

    def _subject(self, name, model, lines, batch=1, hit=False):
        path = self.folder / (name.replace(" ", "-") + ".bodies")
        return Subject(name, model, path if path.exists() else bodies.write(path, lines), batch, hit)
