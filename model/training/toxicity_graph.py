"""Turns the toxicity pipeline of scikit-learn into an ONNX graph: text [N, 1] to label [N] and probabilities [N, 2].

Written by hand, because one TfIdfVectorizer operator in its IDF mode is exactly a binary TF-IDF, and because a word
pair whose words are not in the vocabulary themselves must stay a pair.
"""

import numpy as np
from onnx import TensorProto, helper

import model_files

LABELS = ["non_toxic", "toxic"]

# Shorter texts of a batch are filled up with it; the token pattern cannot match it.
PADDING = "#"


def to_onnx(pipeline):
    vectoriser, classifier = pipeline
    terms = [term.split(" ") for term in vectoriser.get_feature_names_out()]
    single = [i for i, term in enumerate(terms) if len(term) == 1]
    pairs = [i for i, term in enumerate(terms) if len(term) == 2]
    # The operator wants all single words first, then the pairs; weights go by that order, columns by `ngram_indexes`.
    order = single + pairs
    idf = vectoriser.idf_.astype(np.float32)
    weights = classifier.coef_[0].astype(np.float32)
    intercept = np.float32(classifier.intercept_[0])

    nodes = [
        helper.make_node(
            "Tokenizer", ["text"], ["padded_tokens"], name="tokenise", domain="com.microsoft",
            tokenexp=vectoriser.token_pattern, mincharnum=1, mark=0, pad_value=PADDING),
        helper.make_node("Flatten", ["padded_tokens"], ["tokens"], name="one_row_per_text", axis=1),
        helper.make_node(
            "TfIdfVectorizer", ["tokens"], ["tf_idf"], name="vectorise", mode="IDF",
            min_gram_length=1, max_gram_length=2, max_skip_count=0, ngram_counts=[0, len(single)], ngram_indexes=order,
            pool_strings=[word for i in order for word in terms[i]], weights=idf[order].tolist()),
        helper.make_node(
            "LinearClassifier", ["tf_idf"], ["label", "probabilities"], name="classify", domain="ai.onnx.ml",
            classlabels_strings=LABELS, post_transform="LOGISTIC", multi_class=0,
            coefficients=np.concatenate([-weights, weights]).tolist(), intercepts=[-intercept, intercept]),
    ]
    graph = helper.make_graph(
        nodes,
        "toxicity",
        [helper.make_tensor_value_info("text", TensorProto.STRING, ["batch", 1])],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, ["batch"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2]),
        ],
    )
    opsets = [("", model_files.OPSET), ("ai.onnx.ml", model_files.ML_OPSET), ("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(*opset) for opset in opsets])
