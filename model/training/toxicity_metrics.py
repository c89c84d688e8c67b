"""Measures the toxicity model on the held-out tweets, and on self-written sentences that were not trained on."""

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import (
    average_precision_score, brier_score_loss, confusion_matrix, f1_score, precision_score, recall_score, roc_auc_score)

import toxicity_corpus
from everyday_sentences import CHECK_NOT_TOXIC, CHECK_TOXIC, everyday_sentences

NEAR_DUPLICATE = 0.8


def measure(pipeline, corpus):
    labels = corpus.held_out_labels
    toxic = pipeline.predict_proba(corpus.held_out_texts)[:, 1]
    # As if half of the texts were toxic, which is what the probabilities are calibrated to.
    even = 0.5 / np.bincount(labels)[labels]
    fresh = _similarity_to_training(corpus) < NEAR_DUPLICATE
    decided = (toxic > 0.5).astype(int)
    return {
        "held_out": {
            "roc_auc": _rounded(roc_auc_score(labels, toxic)),
            "average_precision": _rounded(average_precision_score(labels, toxic)),
            "at_threshold": 0.5,
            "precision": _rounded(precision_score(labels, decided)),
            "recall": _rounded(recall_score(labels, decided)),
            "f1": _rounded(f1_score(labels, decided)),
            "accuracy": _rounded((decided == labels).mean()),
            "balanced_accuracy": _rounded(np.average(decided == labels, weights=even)),
            "confusion_matrix": _confusion(labels, decided),
            "brier": _rounded(brier_score_loss(labels, toxic)),
            "brier_if_half_were_toxic": _rounded(brier_score_loss(labels, toxic, sample_weight=even)),
            "reliability": _reliability(labels, toxic, even),
            "near_duplicates_of_training_texts": int((~fresh).sum()),
            "roc_auc_without_near_duplicates": _rounded(roc_auc_score(labels[fresh], toxic[fresh])),
        },
        "predictions": predictions(toxic),
        "everyday_check": _everyday_check(pipeline, corpus),
    }


def predictions(toxic):
    """How often each label is predicted on the held-out texts, and how often with a probability within each tenth: what a
    running server compares its own answers with."""
    # The server's tenths include their upper bound.
    tenths = np.clip(np.ceil(np.maximum(toxic, 1 - toxic) * 10).astype(int) - 1, 0, 9)
    return {
        "labels": {"non_toxic": int((toxic <= 0.5).sum()), "toxic": int((toxic > 0.5).sum())},
        "confidence": np.bincount(tenths, minlength=10).tolist(),
    }


def _reliability(labels, toxic, even):
    bins = np.minimum((toxic * 10).astype(int), 9)
    return [
        {
            "from": number / 10,
            "count": int(inside.sum()),
            "mean_predicted": _rounded(toxic[inside].mean()),
            "observed": _rounded(labels[inside].mean()),
            "observed_if_half_were_toxic": _rounded(np.average(labels[inside], weights=even[inside])),
        }
        for number in range(10)
        for inside in [bins == number]
    ]


def _confusion(labels, decided):
    (true_negative, false_positive), (false_negative, true_positive) = confusion_matrix(labels, decided).tolist()
    return {
        "true_negative": true_negative,
        "false_positive": false_positive,
        "false_negative": false_negative,
        "true_positive": true_positive,
    }


def _similarity_to_training(corpus):
    """Of each held-out text, the largest Jaccard similarity of its set of words with one of the training texts."""
    both = corpus.train_texts, corpus.held_out_texts
    essences = [[toxicity_corpus.essence(text) for text in texts] for texts in both]
    counter = CountVectorizer(lowercase=False, token_pattern=r"\S+", binary=True).fit(essences[0] + essences[1])
    train, held_out = (counter.transform(texts) for texts in essences)
    common = (held_out @ train.T).tocoo()
    sizes = [np.asarray(words.sum(axis=1)).ravel() for words in (held_out, train)]
    union = sizes[0][common.row] + sizes[1][common.col] - common.data
    best = np.zeros(len(corpus.held_out_texts))
    np.maximum.at(best, common.row, common.data / union)
    return best


def _everyday_check(pipeline, corpus):
    seen = set(everyday_sentences()[0]) | set(corpus.train_texts)
    checks = [(text, 1) for text in CHECK_TOXIC] + [(text, 0) for text in CHECK_NOT_TOXIC]
    repeated = [text for text, _ in checks if text.lower() in seen]
    if repeated:
        raise SystemExit(f"these check sentences are in the training data too: {repeated}")
    toxic = pipeline.predict_proba([text.lower() for text, _ in checks])[:, 1]
    right = sum((value > 0.5) == label for value, (_, label) in zip(toxic, checks))
    return {
        "sentences": len(checks),
        "right_at_threshold_0.5": int(right),
        "empty_text": round(float(pipeline.predict_proba([""])[0, 1]), 3),
        "toxic_probability": {text: round(float(value), 3) for value, (text, _) in zip(toxic, checks)},
    }


def _rounded(value):
    return round(float(value), 6)
