"""Trains `toxicity`: binary TF-IDF over words and word pairs, and a sparse logistic regression.

Needs the labelled tweets named in README.md: train_toxicity.py --data labeled_data.csv
"""

import argparse
import re
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline

import model_files
import toxicity_corpus
import toxicity_golden
import toxicity_metrics
from everyday_sentences import everyday_sentences
from toxicity_graph import to_onnx

DEFAULT_OUT = Path(__file__).resolve().parent.parent / "toxicity"

# Links and mentions become words that no vocabulary holds. Letters are named by code point, because \w means ASCII to
# the graph's RE2 and Unicode to Python: ASCII, then every script up to U+1FFF without the signs before "ß" and "÷".
TOKEN_PATTERN = "https?://[^ \t\r\n]+|@[a-z0-9_]+|[0-9a-z\u00df-\u00f6\u00f8-\u1fff]+"

MIN_DOCUMENTS = 5
L1_C = 0.07
# Weight of the self-written sentences, as a share of the corpus.
EVERYDAY_SHARE = 0.1
FOLDS = 5


def fit(texts, labels):
    """Returns the pipeline of vectoriser and classifier, without the words that the L1 penalty gave no weight."""
    everyday_texts, everyday_labels = everyday_sentences()
    weights = np.concatenate([
        _balanced(labels, len(texts)),
        _balanced(np.array(everyday_labels), EVERYDAY_SHARE * len(texts)),
    ])
    texts = texts + everyday_texts
    labels = np.concatenate([labels, everyday_labels])

    vectoriser = _vectoriser(min_df=MIN_DOCUMENTS).fit(texts)
    # A handle, a link or a number would be learnt by heart, and the first must not be published.
    terms = [term for term in vectoriser.get_feature_names_out() if not re.search(r"[@/0-9]", term)]
    vectoriser = _vectoriser(vocabulary=terms)
    classifier = LogisticRegression(l1_ratio=1, C=L1_C, solver="liblinear", tol=1e-6, max_iter=10_000, random_state=0)
    classifier.fit(vectoriser.fit_transform(texts), labels, sample_weight=weights)

    # Without normalisation a term of weight 0 changes nothing, so leaving it out is exact. Rounding keeps the
    # differences between processors out of the file.
    classifier.coef_ = np.round(classifier.coef_, 4)
    kept = np.flatnonzero(classifier.coef_[0])
    classifier.coef_ = classifier.coef_[:, kept]
    classifier.n_features_in_ = len(kept)
    classifier.intercept_ = np.round(classifier.intercept_, 4)
    vectoriser = _vectoriser(vocabulary=[terms[i] for i in kept]).fit(texts)
    return make_pipeline(vectoriser, classifier)


def calibrate(pipeline, texts, labels):
    """Platt scaling on out-of-fold scores, both classes weighing the same; being linear, it goes into the weights."""
    scores = np.zeros(len(texts))
    for train, rest in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(texts, labels):
        fold = fit([texts[i] for i in train], labels[train])
        scores[rest] = fold.decision_function([texts[i] for i in rest])
    platt = LogisticRegression(C=np.inf, tol=1e-8).fit(scores[:, None], labels, sample_weight=_balanced(labels, 1))
    slope, shift = np.round(platt.coef_[0, 0], 3), np.round(platt.intercept_[0], 3)
    classifier = pipeline[-1]
    classifier.coef_ = np.round(slope * classifier.coef_, 4)
    classifier.intercept_ = np.round(slope * classifier.intercept_ + shift, 4)
    return {"slope": float(slope), "shift": float(shift)}


def main(data, out=DEFAULT_OUT):
    corpus = toxicity_corpus.load(data)
    pipeline = fit(corpus.train_texts, corpus.train_labels)
    platt = calibrate(pipeline, corpus.train_texts, corpus.train_labels)
    model = to_onnx(pipeline)

    golden = toxicity_golden.samples(pipeline)
    golden_texts = [sample["text"].lower() for sample in golden]
    texts = corpus.held_out_texts + golden_texts
    difference = model_files.assert_close(_run(model, texts), pipeline.predict_proba(texts))
    # Alone and in a batch, where shorter texts are padded, a text must get the same answer.
    for text in golden_texts:
        model_files.assert_close(_run(model, [text]), pipeline.predict_proba([text]))

    metrics = {
        "data_sha256": toxicity_corpus.SHA256,
        "rows": corpus.rows,
        "split": f"20 % of the unique texts held out, stratified by label, random_state {toxicity_corpus.SEED}",
        "everyday_sentences_in_training": len(everyday_sentences()[0]),
        "vocabulary": len(pipeline[0].vocabulary_),
        "regularisation": {"penalty": "l1", "C": L1_C, "everyday_share": EVERYDAY_SHARE, "min_df": MIN_DOCUMENTS},
        "calibration": platt,
    }
    metrics |= toxicity_metrics.measure(pipeline, corpus)
    metrics["onnx_difference_below"] = model_files.power_of_ten_above(difference)
    golden = {"tolerance": model_files.TOLERANCE, "samples": golden}
    model_files.write_version(Path(out) / "1", model, golden, metrics)


def _vectoriser(**options):
    return TfidfVectorizer(
        lowercase=False, token_pattern=TOKEN_PATTERN, ngram_range=(1, 2), binary=True, norm=None, **options)


def _balanced(labels, total):
    """Weights that sum up to `total`, half of it for each class."""
    return total / 2 / np.bincount(labels)[labels]


def _run(model, texts):
    return model_files.run(model, {"text": np.array(texts, dtype=object)[:, None]})["probabilities"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="labeled_data.csv")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the model (default: the bundled one)")
    arguments = parser.parse_args()
    main(arguments.data, arguments.out)
