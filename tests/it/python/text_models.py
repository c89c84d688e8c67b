"""Makes the repository of text.rs in the folder that is named: small encoders with weights of chance, as the usual tools
export them. Prints what Python answers: {model: [{"text", "prediction"}]}.
"""

import json
import os
import sys

import numpy as np
import onnxruntime as ort
from onnx import helper

from onnx_files import constant, model, spec
from text_tokens import BytePairs, WordPiece

HIDDEN, POSITIONS = 8, 48


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], **attributes)


class Encoder:
    """One layer of a transformer over the tokens of a vocabulary, and a head on top of it."""

    def __init__(self, size, datatype="INT64", types=True, pad=None, names=None, length="sequence", mask=True):
        self.chance = np.random.default_rng(7)
        self.datatype, self.pad, self.length = datatype, pad, length
        names = names or {}
        parts = ["input_ids", *["attention_mask"] * mask, *["token_type_ids"] * types]
        self.inputs = {part: names.get(part, part) for part in parts}
        self.nodes, self.initializers = [], []
        self.body(size)

    def weight(self, name, *shape):
        self.initializers.append(constant(name, self.chance.normal(0, 0.6, shape), "FP32"))
        return name

    def number(self, name, value, datatype="INT64"):
        self.initializers.append(constant(name, value, datatype))
        return name

    def add(self, op, *inputs, **attributes):
        output = f"{op}_{len(self.nodes)}"
        self.nodes.append(node(op, list(inputs), output, **attributes))
        return output

    def body(self, size):
        ids = self.inputs["input_ids"]
        summed = self.add("Gather", self.weight("words", size, HIDDEN), ids)
        summed = self.add("Add", summed, self.add("Gather", self.weight("positions", POSITIONS, HIDDEN), self.places(ids)))
        if types := self.inputs.get("token_type_ids"):
            summed = self.add("Add", summed, self.add("Gather", self.weight("types", 2, HIDDEN), types))
        x = self.normal(summed, "before")
        query, key, value = (self.add("MatMul", x, self.weight(name, HIDDEN, HIDDEN)) for name in "qkv")
        scores = self.add("MatMul", query, self.add("Transpose", key, perm=[0, 2, 1]))
        scores = self.add("Add", scores, self.hidden_from()) if "attention_mask" in self.inputs else scores
        attended = self.add("MatMul", self.add("Softmax", scores, axis=-1), value)
        x = self.normal(self.add("Add", x, attended), "between")
        inner = self.add("Tanh", self.add("MatMul", x, self.weight("up", HIDDEN, 2 * HIDDEN)))
        self.states = self.normal(self.add("Add", x, self.add("MatMul", inner, self.weight("down", 2 * HIDDEN, HIDDEN))), "after")

    def normal(self, x, name):
        return self.add("LayerNormalization", x, self.weight(name, HIDDEN), axis=-1)

    def places(self, ids):
        wide = self.add("Cast", ids, to=helper.np_dtype_to_tensor_dtype(np.dtype(np.int64)))
        ones = self.add("Sub", self.add("Add", wide, self.number("one", [1])), wide)
        counted = self.add("CumSum", ones, self.number("second", 1))
        if self.pad is None:
            return self.add("Sub", counted, "one")
        # RoBERTa's way: padding has no place of its own.
        real = self.add("Cast", self.add("Not", self.add("Equal", wide, self.number("pad", [self.pad]))), to=7)
        counted = self.add("Mul", self.add("CumSum", real, "second"), real)
        return self.add("Add", counted, "pad")

    def hidden_from(self):
        mask = self.add("Cast", self.inputs["attention_mask"], to=1)
        missing = self.add("Sub", self.number("all", [1.0], "FP32"), mask)
        low = self.add("Mul", missing, self.number("low", [-1e4], "FP32"))
        return self.add("Unsqueeze", low, self.number("middle", [1]))

    def classifier(self, classes):
        first = self.add("Gather", self.states, self.number("first", 0), axis=1)
        self.nodes.append(node("MatMul", [first, self.weight("head", HIDDEN, classes)], "logits"))
        return self.proto("logits", ["batch", classes])

    def embedder(self):
        self.nodes.append(node("Identity", [self.states], "last_hidden_state"))
        return self.proto("last_hidden_state", ["batch", self.length, HIDDEN])

    def proto(self, output, shape):
        inputs = [spec(name, self.datatype, ["batch", self.length]) for name in self.inputs.values()]
        return model(self.nodes, inputs, [spec(output, "FP32", shape)], self.initializers)

    def feeds(self, ids):
        parts = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": [0] * len(ids)}
        dtype = np.int32 if self.datatype == "INT32" else np.int64
        if isinstance(self.length, int):
            # A graph of one length: the rest is padding, which the mask hides.
            parts = {part: row + [0] * (self.length - len(row)) for part, row in parts.items()}
        return {name: np.array([parts[part]], dtype) for part, name in self.inputs.items()}


def softmax(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def one_label(labels, probabilities):
    best = int(np.argmax(probabilities))
    named = dict(zip(labels, map(float, probabilities)))
    return {"label": labels[best], "confidence": float(probabilities[best]), "probabilities": named}


def several_labels(labels, probabilities, threshold):
    named = [label for label, p in zip(labels, probabilities) if p >= threshold]
    return {"labels": named, "probabilities": dict(zip(labels, map(float, probabilities)))}


def of_length_one(vector):
    return (vector / np.linalg.norm(vector)).tolist()


class TextModel:
    def __init__(self, name, tokenizer, encoder, proto, manifest, answer, files=None):
        self.name, self.tokenizer, self.encoder, self.proto = name, tokenizer, encoder, proto
        self.manifest, self.answer, self.files = manifest, answer, files or {}

    def save(self, folder):
        version = os.path.join(folder, self.name, "1")
        os.makedirs(version)
        with open(os.path.join(folder, self.name, "model.toml"), "w", encoding="utf-8") as file:
            file.write(self.manifest)
        with open(os.path.join(version, "model.onnx"), "wb") as file:
            file.write(self.proto.SerializeToString())
        for name, document in {"tokenizer.json": self.tokenizer.file(), **self.files}.items():
            with open(os.path.join(version, name), "w", encoding="utf-8") as file:
                json.dump(document, file)

    def items(self, texts):
        session = ort.InferenceSession(self.proto.SerializeToString(), providers=["CPUExecutionProvider"])
        for text in texts:
            ids = self.tokenizer.encode(text)
            output = session.run(None, self.encoder.feeds(ids))[0][0]
            # One vector per token: those of the padding are no answer.
            output = output[: len(ids)] if output.ndim > 1 else output
            yield {"text": text, "prediction": self.answer(output.astype(np.float64))}


def classifier(name, tokenizer, labels, head, answer, rest="", **how):
    encoder = Encoder(len(tokenizer.vocabulary), **how)
    classes = 1 if head == "sigmoid, one logit" else len(labels)
    activation = head.split(",")[0]
    manifest = f"""
        task = "classification"
        labels = {json.dumps(labels)}
        text = {{ tokenizer = "tokenizer.json", max_tokens = {tokenizer.most}{rest} }}
        output = {{ name = "logits", activation = "{activation}"{', threshold = 0.4' if 'threshold' in head else ''} }}
    """
    return TextModel(name, tokenizer, encoder, encoder.classifier(classes), manifest, answer)


def embedder(name, tokenizer, output, answer, files, **how):
    encoder = Encoder(len(tokenizer.vocabulary), **how)
    manifest = f"""
        task = "embedding"
        text.tokenizer = "tokenizer.json"
        output = {{ {output} }}
    """
    return TextModel(name, tokenizer, encoder, encoder.embedder(), manifest, answer, files)


def models():
    moods = ["bad", "neutral", "good"]
    yield classifier("bert", WordPiece(16), moods, "softmax", lambda x: one_label(moods, softmax(x)))
    # The same layout as a BERT classifier, without segments.
    yield classifier("distilbert", WordPiece(32), moods, "softmax", lambda x: one_label(moods, softmax(x)), types=False)
    yield classifier("one_logit", WordPiece(16), ["no", "yes"], "sigmoid, one logit",
                     lambda x: one_label(["no", "yes"], [1 - sigmoid(x[0]), sigmoid(x[0])]))
    yield classifier("multi_label", WordPiece(16), moods, "sigmoid, threshold",
                     lambda x: several_labels(moods, sigmoid(x), 0.4))
    names = {"input_ids": "tokens", "attention_mask": "real", "token_type_ids": "parts"}
    rest = ', inputs = { input_ids = "tokens", attention_mask = "real", token_type_ids = "parts" }'
    yield classifier("other_names", WordPiece(16), moods, "softmax", lambda x: one_label(moods, softmax(x)), rest,
                     names=names, datatype="INT32")
    # How long texts may be, each said in another place; and padding, which must not come to pass.
    pair = BytePairs(20)
    padding = {"strategy": {"Fixed": 24}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1,
               "pad_type_id": 0, "pad_token": "<pad>"}
    cut = {"direction": "Right", "max_length": 20, "strategy": "LongestFirst", "stride": 0}
    yield embedder("roberta", pair, 'pooling = "cls"', lambda x: x[0].tolist(),
                   {"tokenizer.json": pair.file(truncation=cut, padding=padding)}, types=False, pad=1)
    yield embedder("minilm", WordPiece(12), 'pooling = "mean", normalize = true', lambda x: of_length_one(x.mean(axis=0)),
                   {"tokenizer_config.json": {"model_max_length": 12}})
    yield embedder("every_token", WordPiece(POSITIONS), 'name = "last_hidden_state"', lambda x: x.tolist(),
                   {"config.json": {"max_position_embeddings": POSITIONS}}, datatype="INT32", types=False)
    # Graphs of one length.
    yield classifier("fixed", WordPiece(24), moods, "softmax", lambda x: one_label(moods, softmax(x)), length=24)
    yield embedder("fixed_every_token", WordPiece(24), 'name = "last_hidden_state"', lambda x: x.tolist(), {}, length=24)
    yield embedder("fixed_mean", WordPiece(24), 'pooling = "mean"', lambda x: x.mean(axis=0).tolist(), {}, length=24,
                   types=False)


TEXTS = [
    "the",
    "You are AWFUL!",
    "have a lovely day",
    "café naïve STRASSE 日本 123 245",
    "it was\ta good film, but the plot was not very great.\r\n",
    "🙂 the 👩‍👩‍👧 day",
    "qqq zzz xyzzy",
    "x" * 101 + " good " + "goods",
    "\u0301 \u00a0the\u200bday don't a-b_c",
    "good day the looer é",
    "the the  the   the  ",
]
LONG = "the good film was terrible and the plot was lovely but awful " * 8


def main(folder):
    answers = {}
    lengths = [LONG[: 1 + 5 * length].strip() for length in range(64)]
    for made in models():
        made.save(folder)
        texts = [*TEXTS, LONG]
        answers[made.name] = {"texts": list(made.items(texts)), "lengths": list(made.items(lengths))}
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
