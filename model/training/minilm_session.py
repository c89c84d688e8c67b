"""Runs a graph of `toxicity-minilm` in ONNX Runtime: texts to probabilities, one by one or in batches."""

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

import minilm_weights
from minilm_graph import INPUTS

# As in model.toml; the longest tweet has 93.
MAX_TOKENS = 128


def tokenizer():
    """The package's tokenizer, which cuts as the server does and fills up nothing."""
    made = Tokenizer.from_file(str(minilm_weights.folder() / "tokenizer.json"))
    made.no_padding()
    made.enable_truncation(MAX_TOKENS)
    return made


class GraphPipeline:
    """Predicts as a scikit-learn pipeline does. In batches, shorter texts are filled up to the longest."""

    def __init__(self, model, batch_size=1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.tokenizer = tokenizer()
        self.batch_size = batch_size

    def predict_proba(self, texts):
        """Returns [N, 2]: the probabilities of not toxic and of toxic."""
        logits = self.run(texts).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def run(self, texts):
        """Returns the graph's output, a row for each text."""
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        starts = range(0, len(tokens), self.batch_size)
        return np.concatenate([self._run_batch(tokens[at:at + self.batch_size]) for at in starts])

    def _run_batch(self, tokens):
        longest = max(map(len, tokens))
        ids = np.array([row + [0] * (longest - len(row)) for row in tokens], dtype=np.int64)
        mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in tokens], dtype=np.int64)
        return self.session.run(None, dict(zip(INPUTS, [ids, mask, np.zeros_like(ids)])))[0]
