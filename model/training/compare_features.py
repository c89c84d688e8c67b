"""Compares kinds of text features for the toxicity model; prints the table that README.md quotes. Makes no file.

Every row is five-fold out-of-fold ROC AUC on the training part of the corpus; the held-out part is not looked at. The
row "1-2 words" is the recipe of train_toxicity.py without the self-written sentences. Takes a few minutes.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline, make_union

import toxicity_corpus
from train_toxicity import FOLDS, MIN_DOCUMENTS, TOKEN_PATTERN

WORDS = {"token_pattern": TOKEN_PATTERN, "min_df": MIN_DOCUMENTS}
SPARSE = {"binary": True, "norm": None}
L1_GRID = [0.03, 0.1, 0.3]
L2_GRID = [1, 3, 10]


def candidates():
    """Yields name, vectoriser, penalty (l1_ratio) and the regularisations to try."""
    def tfidf(**options):
        return TfidfVectorizer(lowercase=False, **options)

    def characters(analyzer, shortest, longest):
        return tfidf(analyzer=analyzer, ngram_range=(shortest, longest), min_df=10, **SPARSE)

    pairs = tfidf(ngram_range=(1, 2), **WORDS, **SPARSE)
    yield "1 word", tfidf(**WORDS, **SPARSE), 1, L1_GRID
    yield "1-2 words", pairs, 1, L1_GRID
    yield "1-3 words", tfidf(ngram_range=(1, 3), **WORDS, **SPARSE), 1, L1_GRID
    yield "1-2 words, normalised, L2 penalty", tfidf(ngram_range=(1, 2), **WORDS), 0, L2_GRID
    yield "2-4 characters", characters("char", 2, 4), 1, L1_GRID
    yield "2-4 characters within words", characters("char_wb", 2, 4), 1, L1_GRID
    yield "3-5 characters within words", characters("char_wb", 3, 5), 1, L1_GRID
    yield "1-2 words and 2-4 characters within words", make_union(pairs, characters("char_wb", 2, 4)), 1, L1_GRID


def measure(vectoriser, l1_ratio, strengths, corpus):
    """Returns the best of the regularisations: AUC, C, number of features, number of features with a weight."""
    texts, labels = corpus.train_texts, corpus.train_labels
    results = []
    for strength in strengths:
        classifier = LogisticRegression(
            l1_ratio=l1_ratio, C=strength, class_weight="balanced", solver="liblinear", random_state=0, max_iter=1000)
        pipeline = make_pipeline(vectoriser, classifier)
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        scores = cross_val_predict(pipeline, texts, labels, cv=folds, method="decision_function", n_jobs=1)
        weights = pipeline.fit(texts, labels)[-1].coef_[0]
        results.append((roc_auc_score(labels, scores), strength, len(weights), np.count_nonzero(weights)))
    return max(results)


def main(data):
    corpus = toxicity_corpus.load(data)
    print("| features | C | in the vocabulary | with a weight | ROC AUC |\n|---|---|---|---|---|")
    for name, vectoriser, l1_ratio, strengths in candidates():
        auc, strength, features, weighted = measure(vectoriser, l1_ratio, strengths, corpus)
        print(f"| {name} | {strength} | {features:,} | {weighted:,} | {auc:.4f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="labeled_data.csv")
    main(parser.parse_args().data)
