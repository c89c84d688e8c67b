"""Makes the ONNX files of foreign_models.rs in the folder that is named, and prints what Python answers.

The output is JSON: {group: [model, …]}. A model has its declaration, whether its rows are independent, and items with
the answers to them: {"name", "inputs", "outputs", "batched", "tolerance", "items": [{"input", "prediction"}]}.
"""

import json
import sys

import foreign_batching
import foreign_datatypes
import foreign_shapes

GROUPS = {"datatypes": foreign_datatypes, "shapes": foreign_shapes, "batching": foreign_batching}


def documents(group, folder):
    for model in group.models():
        model.save(folder, external=model.name == "external_weights")
        yield model.document()


folder = sys.argv[1]
json.dump({name: list(documents(group, folder)) for name, group in GROUPS.items()}, sys.stdout)
