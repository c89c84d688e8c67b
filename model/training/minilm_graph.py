"""Writes the encoder and its head as an ONNX graph: input_ids, attention_mask, token_type_ids [N, T] to logits [N, 2].

Written by hand: an export needs PyTorch, and the operators decide about the speed (README.md has the table). In int8
the matrices of the layers are 8-bit with a scale per column, their inputs are quantised while the graph runs, and the
word table is 8-bit with a scale per word.
"""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import model_files
from minilm_weights import EPSILON, HEADS, WIDTH

INPUTS = ["input_ids", "attention_mask", "token_type_ids"]
FUSED = "com.microsoft"

# Added to what a filled-up position scores; its weight after softmax is then exactly 0.
MASKED = np.float32(-1e4)

# Largest 8-bit weight; see `quantise`.
BOUND = 63


@dataclass
class Layout:
    """Which operators the graph is made of. The defaults are the fastest; compare_minilm_graphs.py tries the others."""

    int8: bool = False
    fused_attention: bool = False
    fused_norm: bool = False
    fused_gelu: bool = False


def to_onnx(encoder, head, layout):
    """Returns the model. Without a head it gives what the encoder says of a text: `features` [N, 1152]."""
    graph = _Graph(layout)
    states = graph.embed(encoder)
    mask = graph.masks()
    for number, layer in enumerate(encoder.layers):
        states = graph.layer(f"layer{number}", layer, states, mask)
    features = graph.pool(states, mask)
    if head is None:
        return graph.finish(features, "features", 3 * WIDTH)
    features = graph.op("Concat", [features, graph.add_up_pieces(head.pieces, mask)], axis=1)
    return graph.finish(graph.op("Gemm", [features, *graph.head(head)]), "logits", 2)


def quantise(weights, axis):
    """Returns int8 and the scales along the other axis.

    Seven of the eight bits are used: where a processor has no instruction for 8-bit products, two of them are added up
    in 16 bits, which would overflow.
    """
    scales = np.maximum(np.abs(weights).max(axis=axis, keepdims=True), 1e-12) / np.float32(BOUND)
    return np.rint(weights / scales).astype(np.int8), scales.astype(np.float32)


class _Graph:
    def __init__(self, layout):
        self.layout = layout
        self.nodes = []
        self.weights = {}

    def finish(self, output, name, width):
        self.nodes.append(helper.make_node("Identity", [output], [name], name=name))
        graph = helper.make_graph(
            self.nodes,
            "toxicity-minilm",
            [helper.make_tensor_value_info(each, TensorProto.INT64, ["batch", "sequence"]) for each in INPUTS],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])],
            list(self.weights.values()),
        )
        opsets = [("", model_files.OPSET), (FUSED, 1)]
        return helper.make_model(graph, opset_imports=[helper.make_opsetid(*opset) for opset in opsets])

    def op(self, kind, inputs, outputs=1, **attributes):
        """Adds a node; returns the name of its output, or the names."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        names = [f"{name}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def weight(self, name, value):
        self.weights[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def integers(self, *values):
        return self.weight("integers_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def embed(self, encoder):
        """The rows of a text's words, places and kinds, added up."""
        table, scales = quantise(encoder.words, axis=1) if self.layout.int8 else (encoder.words, None)
        words = self.op("Gather", [self.weight("words", table), "input_ids"], axis=0)
        if scales is not None:
            scale = self.op("Gather", [self.weight("words_scale", scales), "input_ids"], axis=0)
            words = self.op("Mul", [self.op("Cast", [words], to=TensorProto.FLOAT), scale])
        kinds = self.op("Gather", [self.weight("types", encoder.types), "token_type_ids"], axis=0)
        length = self.op("Gather", [self.op("Shape", ["input_ids"]), self.integers(1)], axis=0)
        places = self.op("Slice", [self.weight("positions", encoder.positions), self.integers(0), length])
        both = self.op("Add", [self.op("Add", [words, kinds]), places])
        return self.norm("embeddings_norm", both, encoder.norm)

    def masks(self):
        """The attention mask in the forms that are needed."""
        numbers = self.op("Cast", ["attention_mask"], to=TensorProto.FLOAT)
        row = self.op("Unsqueeze", [numbers, self.integers(1)])
        count = self.op("ReduceSum", [row, self.integers(2)], keepdims=1)
        away = self.op("Sub", [self.weight("one", np.float32(1)), numbers])
        away = self.op("Mul", [away, self.weight("masked", MASKED)])
        return {
            "row": row,
            "share": self.op("Div", [row, count]),
            "by_token": self.op("Unsqueeze", [away, self.integers(2)]),
            "by_key": self.op("Unsqueeze", [away, self.integers(1, 2)]),
            "integer": self.op("Cast", ["attention_mask"], to=TensorProto.INT32) if self.layout.fused_attention else "",
        }

    def layer(self, name, layer, states, mask):
        attended = self.attend(name, layer, states, mask)
        attended = self.linear(f"{name}_attended", attended, layer.attended)
        states = self.add_and_norm(f"{name}_attended_norm", attended, states, layer.attended_norm)
        wide = self.gelu(f"{name}_up", states, layer.up)
        return self.add_and_norm(
            f"{name}_down_norm", self.linear(f"{name}_down", wide, layer.down), states, layer.down_norm)

    def attend(self, name, layer, states, mask):
        """All heads at once: one product for query, key and value, one turn of the axes that puts the heads first."""
        parts = layer.query, layer.key, layer.value
        pair = np.concatenate([part[0] for part in parts], axis=1), np.concatenate([part[1] for part in parts])
        if self.layout.fused_attention:
            return self.attention_operator(f"{name}_qkv", pair, states, mask["integer"])
        size = WIDTH // HEADS
        all_three = self.op("Reshape", [self.linear(f"{name}_qkv", states, pair), self.integers(0, 0, 3, HEADS, size)])
        heads_first = self.op("Transpose", [all_three], perm=[2, 0, 3, 1, 4])
        query, key, value = self.op("Split", [heads_first], outputs=3, axis=0)
        scores = self.op("FusedMatMul", [query, key], domain=FUSED, transB=1, alpha=float(size ** -0.5))
        weights = self.op("Softmax", [self.op("Add", [scores, mask["by_key"]])], axis=-1)
        turned = self.op("Transpose", [self.op("MatMul", [weights, value])], perm=[1, 3, 0, 2, 4])
        return self.op("Reshape", [turned, self.integers(0, 0, WIDTH)])

    def attention_operator(self, name, pair, states, mask):
        bias = self.weight(f"{name}_bias", pair[1])
        if not self.layout.int8:
            matrix = self.weight(f"{name}_matrix", pair[0])
            return self.op("Attention", [states, matrix, bias, mask], domain=FUSED, num_heads=HEADS)
        matrix, scales, zeros = self.quantised(name, pair[0])
        states, scale, zero = self.op("DynamicQuantizeLinear", [states], outputs=3)
        inputs = [states, matrix, bias, scale, scales, mask, zero, zeros]
        return self.op("QAttention", inputs, domain=FUSED, num_heads=HEADS)

    def linear(self, name, states, pair):
        bias = self.weight(f"{name}_bias", pair[1])
        if self.layout.int8:
            return self.op("DynamicQuantizeMatMul", [states, *self.quantised(name, pair[0]), bias], domain=FUSED)
        return self.op("Add", [self.op("MatMul", [states, self.weight(f"{name}_matrix", pair[0])]), bias])

    def quantised(self, name, matrix):
        matrix, scales = quantise(matrix, axis=0)
        return (
            self.weight(f"{name}_matrix", matrix),
            self.weight(f"{name}_scale", scales[0]),
            self.weight(f"{name}_zero", np.zeros(len(scales[0]), dtype=np.int8)),
        )

    def gelu(self, name, states, pair):
        if not self.layout.fused_gelu:
            return self.op("Gelu", [self.linear(name, states, pair)], domain=FUSED)
        product = self.linear(name, states, (pair[0], np.zeros_like(pair[1])))
        return self.op("BiasGelu", [product, self.weight(f"{name}_later_bias", pair[1])], domain=FUSED)

    def add_and_norm(self, name, states, before, pair):
        if not self.layout.fused_norm:
            return self.norm(name, self.op("Add", [states, before]), pair)
        inputs = [states, before, self.weight(f"{name}_gain", pair[0]), self.weight(f"{name}_shift", pair[1])]
        return self.op("SkipLayerNormalization", inputs, domain=FUSED, epsilon=EPSILON)

    def norm(self, name, states, pair):
        inputs = [states, self.weight(f"{name}_gain", pair[0]), self.weight(f"{name}_shift", pair[1])]
        return self.op("LayerNormalization", inputs, axis=-1, epsilon=EPSILON)

    def pool(self, states, mask):
        """Mean of a text's tokens, its first token, and the largest value of each column."""
        mean = self.op("Squeeze", [self.op("MatMul", [mask["share"], states]), self.integers(1)])
        first = self.op("Gather", [states, self.weight("first", np.int64(0))], axis=1)
        largest = self.op("ReduceMax", [self.op("Add", [states, mask["by_token"]])], axes=[1], keepdims=0)
        return self.op("Concat", [mean, first, largest], axis=1)

    def add_up_pieces(self, table, mask):
        """What the word pieces of a text weigh by themselves: [N, 1]."""
        scores = self.op("Gather", [self.weight("pieces", table[:, None].astype(np.float32)), "input_ids"], axis=0)
        return self.op("Squeeze", [self.op("MatMul", [mask["row"], scores]), self.integers(1)])

    def head(self, head):
        """Matrix and bias to two logits, whose difference is the logit of toxic."""
        half = np.append(head.weights, 1) / 2
        bias = np.array([-head.intercept / 2, head.intercept / 2], dtype=np.float32)
        matrix = np.stack([-half, half], axis=1).astype(np.float32)
        return self.weight("head_matrix", matrix), self.weight("head_bias", bias)
