"""The head of `toxicity-minilm`: a logistic regression on what the encoder says and on the word pieces themselves.

Fitted here by hand: scikit-learn knows one strength of regularisation, and these two kinds of features need two.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from minilm_weights import ARCHITECTURE

FILE = Path(__file__).resolve().parent / "toxicity_minilm_head.json"

ENCODER_C = 0.0003
PIECES_C = 0.1
MIN_DOCUMENTS = 5
# Weight of the self-written sentences, as a share of the corpus.
EVERYDAY_SHARE = 0.1
FOLDS = 5
# Standard deviation below which a column of features is left out.
SWITCHED_OFF = 1e-3
# Ends when a step lowers the loss by less than this share of it.
FTOL = 1e-6


@dataclass
class Head:
    """Weights [1152] of the features, weights [30522] of the word pieces, an intercept: together the logit of toxic."""

    weights: np.ndarray
    pieces: np.ndarray
    intercept: float


@dataclass
class Examples:
    """Features [N, 1152], how often each word piece occurs [N, 30522], and labels (1 = toxic)."""

    features: np.ndarray
    pieces: sparse.csr_array
    labels: np.ndarray

    def __getitem__(self, rows):
        return Examples(self.features[rows], self.pieces[rows], self.labels[rows])


def load(path=FILE):
    kept = json.loads(path.read_text(encoding="utf-8"))
    pieces = np.zeros(ARCHITECTURE["vocab_size"])
    pieces[kept["pieces"]["ids"]] = kept["pieces"]["weights"]
    return Head(np.array(kept["weights"]), pieces, kept["intercept"])


def save(head, path=FILE):
    """The pieces by their ids, those without a weight left out."""
    ids = np.flatnonzero(head.pieces)
    kept = {
        "intercept": head.intercept,
        "weights": head.weights.tolist(),
        "pieces": {"ids": ids.tolist(), "weights": head.pieces[ids].tolist()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, allow_nan=False) + "\n", encoding="utf-8", newline="\n")


def examples(features, token_ids, labels):
    """`token_ids` of each text begin and end with a special token, which is not counted."""
    inner = [ids[1:-1] for ids in token_ids]
    rows = np.repeat(np.arange(len(inner)), [len(ids) for ids in inner])
    columns = np.concatenate([np.array(ids, dtype=int) for ids in inner])
    shape = len(inner), ARCHITECTURE["vocab_size"]
    counts = sparse.csr_array((np.ones(len(columns)), (rows, columns)), shape=shape)
    return Examples(np.asarray(features), counts, np.asarray(labels))


def fit(corpus, everyday):
    """Both classes weigh the same, in the corpus and in the self-written sentences."""
    known = np.flatnonzero(np.asarray((corpus.pieces > 0).sum(axis=0)).ravel() >= MIN_DOCUMENTS)
    mean, scale = (measure(corpus.features, axis=0, dtype=np.float64) for measure in (np.mean, np.std))
    # The encoder's last norm switched some columns off: they hold 1e-32, which is no feature to divide by.
    scale[scale < SWITCHED_OFF] = np.inf
    # FP32 halves the memory that every step reads.
    dense = ((np.concatenate([corpus.features, everyday.features]) - mean) / scale).astype(np.float32)
    counts = sparse.vstack([corpus.pieces[:, known], everyday.pieces[:, known]]).tocsr()
    labels = np.concatenate([corpus.labels, everyday.labels])
    weights = np.concatenate([
        balanced(corpus.labels, len(corpus.labels)),
        balanced(everyday.labels, EVERYDAY_SHARE * len(corpus.labels)),
    ])
    width = dense.shape[1]
    penalty = np.concatenate([np.full(width, 1 / ENCODER_C), np.full(len(known), 1 / PIECES_C), [0]])

    def loss(slopes):
        """The weighted logistic loss with its L2 penalties, and the gradient."""
        scores = dense @ slopes[:width].astype(np.float32) + counts @ slopes[width:-1] + slopes[-1]
        value = weights @ np.logaddexp(0, np.where(labels == 1, -scores, scores)) + penalty @ slopes ** 2 / 2
        off = weights * (expit(scores) - labels)
        return value, np.concatenate([off.astype(np.float32) @ dense, counts.T @ off, [off.sum()]]) + penalty * slopes

    start = np.zeros(len(penalty))
    # More threads than free processors wait for each other: seconds become minutes.
    with threadpool_limits(1):
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "ftol": FTOL}).x
    pieces = np.zeros(corpus.pieces.shape[1])
    pieces[known] = found[width:-1]
    # The scaling goes into the weights.
    slopes = found[:width] / scale
    return Head(slopes, pieces, found[-1] - slopes @ mean)


def score(head, texts):
    return texts.features @ head.weights + texts.pieces @ head.pieces + head.intercept


def calibrate(head, corpus, everyday):
    """Platt scaling on out-of-fold scores, both classes weighing the same; being linear, it goes into the weights.

    Returns the head, slope and shift, and the out-of-fold scores. Rounding keeps the differences between processors out
    of the head's file.
    """
    scores = np.zeros(len(corpus.labels))
    for train, rest in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(corpus.labels, corpus.labels):
        scores[rest] = score(fit(corpus[train], everyday), corpus[rest])
    weights = balanced(corpus.labels, 1)
    platt = LogisticRegression(C=np.inf, tol=1e-8).fit(scores[:, None], corpus.labels, sample_weight=weights)
    slope, shift = np.round(platt.coef_[0, 0], 3), np.round(platt.intercept_[0], 3)
    calibrated = Head(
        np.round(slope * head.weights, 4), np.round(slope * head.pieces, 3),
        float(np.round(slope * head.intercept + shift, 4)))
    return calibrated, {"slope": float(slope), "shift": float(shift)}, scores


def balanced(labels, total):
    """Weights that sum up to `total`, half of it for each class."""
    return total / 2 / np.bincount(labels)[labels]
