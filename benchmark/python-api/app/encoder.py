"""A transformer: texts are cut into tokens, and padded to the longest of the batch."""

from pathlib import Path

import numpy
from tokenizers import Tokenizer

from .models import Model


class Encoder(Model):
    """An encoder with the usual inputs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tokenizer = Tokenizer.from_file(str(folder / self.version / self.text["tokenizer"]))
        # Inputs longer than this are cut; the batch is padded to its longest text and no further.
        self.tokenizer.enable_truncation(self.text.get("max_tokens", 512))
        self.tokenizer.enable_padding()
        self.names = [i.name for i in self.session.get_inputs()]

    def predict_texts(self, texts: list[str]) -> list[dict]:
        encoded = self.tokenizer.encode_batch_fast(texts)
        feeds = {
            "input_ids": [e.ids for e in encoded],
            "attention_mask": [e.attention_mask for e in encoded],
            "token_type_ids": [e.type_ids for e in encoded],
        }
        feeds = {name: numpy.array(feeds[name], dtype=numpy.int64) for name in self.names}
        (values,) = self.session.run(self.outputs, feeds)
        return [self._classes(row) for row in self._probabilities(values).tolist()]

    def _probabilities(self, values: numpy.ndarray) -> numpy.ndarray:
        match self.manifest.get("output", {}).get("activation", "none"):
            case "softmax":
                exponentials = numpy.exp(values - values.max(axis=-1, keepdims=True))
                return exponentials / exponentials.sum(axis=-1, keepdims=True)
            case "sigmoid":
                positive = 1 / (1 + numpy.exp(-values))
                if values.shape[-1] == 1:
                    return numpy.concatenate([1 - positive, positive], axis=-1)
                return positive
        return values
