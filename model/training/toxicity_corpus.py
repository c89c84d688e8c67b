"""Reads the labelled tweets that the toxicity model learns from, merges repeated texts, splits off the held-out set.

Source: the repository t-davidson/hate-speech-and-offensive-language, file data/labeled_data.csv (MIT licence).
"""

import csv
import hashlib
import html
import io
import re
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

SHA256 = "fcb8bc7c68120ae4af04a5b9acd58585513ede11e1548ebf36a5c2040b6f6281"
SEED = 42


@dataclass
class Corpus:
    """Texts as the graph sees them (lower-cased), labels (1 = toxic) and what was left out on the way."""

    train_texts: list
    train_labels: np.ndarray
    held_out_texts: list
    held_out_labels: np.ndarray
    rows: dict


def load(path):
    rows = _parse(check(path))
    unique, counts = _merge_repeated(rows)
    labels = np.array([label for _, label in unique])
    train, held_out = train_test_split(np.arange(len(unique)), test_size=0.2, random_state=SEED, stratify=labels)
    return Corpus(
        train_texts=[unique[i][0] for i in train],
        train_labels=labels[train],
        held_out_texts=[unique[i][0] for i in held_out],
        held_out_labels=labels[held_out],
        rows=counts | {
            "train": len(train),
            "train_toxic": int(labels[train].sum()),
            "held_out": len(held_out),
            "held_out_toxic": int(labels[held_out].sum()),
        },
    )


def check(path):
    """Returns the file's bytes. Every figure depends on the data, so another file is refused."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SystemExit(f"cannot read the toxicity data '{path}': {error.strerror}") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"'{path}' is not the expected labeled_data.csv: its SHA-256 is {digest}, expected {SHA256}")
    return content


def _parse(content):
    """Returns (text, label) per row."""
    reader = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
    # The file stores emoji and quotes as HTML entities; callers send the characters themselves.
    return [(html.unescape(row["tweet"]).lower(), int(row["class"] in "01")) for row in reader]


def _merge_repeated(rows):
    """Keeps one row per text, so that no held-out text was seen in training; says how many rows went and why."""
    groups = {}
    for text, label in rows:
        groups.setdefault(essence(text), []).append((text, label))
    wordless = len(groups.pop("", []))
    agreed = {key: group for key, group in groups.items() if len({label for _, label in group}) == 1}
    counts = {
        "file": len(rows),
        "dropped_without_words": wordless,
        "dropped_with_contradicting_labels": sum(map(len, groups.values())) - sum(map(len, agreed.values())),
        "dropped_repeated": sum(map(len, agreed.values())) - len(agreed),
    }
    return [group[0] for group in agreed.values()], counts


def essence(text):
    """What makes two tweets the same text: their words, without links, mentions, retweet marks and punctuation."""
    without_marks = re.sub(r"https?://\S+|@\w+|\brt\b", " ", text)
    return " ".join(re.findall(r"[^\W_]+", without_marks))
