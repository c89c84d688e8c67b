"""Makes the repository of foreign_models/sizes.rs in the folder that is named: models whose outputs are as long as their inputs."""

import pathlib
import sys

from onnx import helper

from onnx_files import constant, model, spec

folder = pathlib.Path(sys.argv[1])


def save(name, proto, manifest):
    (folder / name / "1").mkdir(parents=True)
    (folder / name / "model.toml").write_text(manifest)
    (folder / name / "1/model.onnx").write_bytes(proto.SerializeToString())


# A vector for each token, of which one is made.
node = helper.make_node("Gather", ["words", "tokens"], ["states"])
words = constant("words", [[1.0, 2.0], [3.0, 4.0]], "FP32")
proto = model([node], [spec("tokens", "INT64", ["batch", "sequence"])], [spec("states", "FP32", ["batch", "sequence", 2])], [words])
save("pooled", proto, 'task = "embedding"\noutput.pooling = "mean"\n')

# Probabilities for each element.
node = helper.make_node("Softmax", ["x"], ["probabilities"], axis=-1)
shape = ["batch", "elements", 2]
proto = model([node], [spec("x", "FP32", shape)], [spec("probabilities", "FP32", shape)])
save("each", proto, 'task = "classification"\nlabels = ["no", "yes"]\n')
