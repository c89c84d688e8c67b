"""The encoder and its head in numpy, in FP64: the truth that the graphs are held against.

Texts go through one at a time, so nothing is padded and there is no mask to get wrong.
"""

import numpy as np
from scipy.special import erf, expit

from minilm_weights import EPSILON, HEADS, WIDTH


class Reference:
    """Predicts as a scikit-learn pipeline does."""

    def __init__(self, encoder, head, tokenizer):
        self.encoder = encoder
        self.head = head
        self.tokenizer = tokenizer

    def predict_proba(self, texts):
        """Returns [N, 2]: the probabilities of not toxic and of toxic."""
        toxic = expit([self.score(text) for text in texts])
        return np.stack([1 - toxic, toxic], axis=1)

    def score(self, text):
        """Returns the logit of toxic."""
        ids = self.tokenizer.encode(text).ids
        features = pool(encode(self.encoder, ids))
        return features @ self.head.weights + self.head.pieces[ids].sum() + self.head.intercept


def pool(states):
    """Mean of a text's tokens, its first token, and the largest value of each column: [1152]."""
    return np.concatenate([states.mean(axis=0), states[0], states.max(axis=0)])


def encode(encoder, ids):
    """Returns the last layer's states [tokens, 384]."""
    words = encoder.words[ids].astype(np.float64)
    states = _normalise(words + encoder.types[0] + encoder.positions[:len(ids)], encoder.norm)
    for layer in encoder.layers:
        states = _normalise(states + _linear(_attend(layer, states), layer.attended), layer.attended_norm)
        states = _normalise(states + _linear(_gelu(_linear(states, layer.up)), layer.down), layer.down_norm)
    return states


def _attend(layer, states):
    query, key, value = (_by_head(_linear(states, pair)) for pair in (layer.query, layer.key, layer.value))
    scores = query @ key.transpose(0, 2, 1) / np.sqrt(WIDTH / HEADS)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return (weights @ value).transpose(1, 0, 2).reshape(-1, WIDTH)


def _by_head(states):
    return states.reshape(len(states), HEADS, -1).transpose(1, 0, 2)


def _linear(states, pair):
    return states @ pair[0].astype(np.float64) + pair[1]


def _gelu(x):
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


def _normalise(states, pair):
    centred = states - states.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred ** 2).mean(axis=-1, keepdims=True) + EPSILON) * pair[0] + pair[1]
