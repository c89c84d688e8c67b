"""Builds the kustomizations of deploy/kubernetes, as kustomize does with what they use of it. Anything else is an error."""

import hashlib
import json

import yaml

KNOWN = {"apiVersion", "kind", "namespace", "resources", "patches", "configMapGenerator", "images"}

# What Kubernetes merges the entries of a list by; lists that are not here are replaced.
MERGE_KEYS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}

# They belong to no namespace.
CLUSTER_WIDE = {"Namespace"}


def build(folder):
    """All objects of the kustomization in `folder`, each once, with references to generated names in place."""
    objects = gather(folder)
    names = {}
    for item in objects:
        if item["kind"] == "ConfigMap" and item.pop("generated", False):
            plain = item["metadata"]["name"]
            names[plain] = item["metadata"]["name"] = f"{plain}-{digest(item)}"
    for item in objects:
        for volume in pod_of(item).get("volumes", []):
            if "configMap" in volume:
                # A name that nothing generated is a mistake here: no other ConfigMap exists.
                volume["configMap"]["name"] = names[volume["configMap"]["name"]]
    return objects


def gather(folder):
    file = folder / "kustomization.yaml"
    told = yaml.safe_load(file.read_text())
    assert told["kind"] == "Kustomization" and set(told) <= KNOWN, f"{file}: not understood: {set(told) - KNOWN}"
    objects = []
    for resource in told.get("resources", []):
        path = folder / resource
        found = gather(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
        for item in found:
            assert identity(item) not in map(identity, objects), f"{path}: {identity(item)} is there twice"
            objects.append(item)
    for patch in told.get("patches", []):
        assert set(patch) == {"path"}, f"{file}: not understood: {patch}"
        change = yaml.safe_load((folder / patch["path"]).read_text())
        targets = [item for item in objects if identity(item) == identity(change)]
        assert len(targets) == 1, f"{patch['path']} is for {identity(change)}, which is there {len(targets)} times"
        merge(targets[0], change)
    for generator in told.get("configMapGenerator", []):
        generate(folder, generator, objects)
    for image in told.get("images", []):
        replace_image(image, objects)
    if namespace := told.get("namespace"):
        for item in objects:
            if item["kind"] not in CLUSTER_WIDE:
                item["metadata"]["namespace"] = namespace
    return objects


def identity(item):
    return item["apiVersion"], item["kind"], item["metadata"]["name"]


def merge(into, change):
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            assert not any(word.startswith("$") for word in value), f"not understood: {value}"
            merge(into[key], value)
        elif key in MERGE_KEYS and key in into:
            by = MERGE_KEYS[key]
            for entry in value:
                same = [old for old in into[key] if old[by] == entry[by]]
                if same:
                    merge(same[0], entry)
                else:
                    into[key].append(entry)
        else:
            into[key] = value


def generate(folder, generator, objects):
    assert set(generator) <= {"name", "files", "behavior"}, f"not understood: {generator}"
    data = {name: (folder / name).read_text() for name in generator["files"]}
    old = [item for item in objects if item["kind"] == "ConfigMap" and item["metadata"]["name"] == generator["name"]]
    if generator.get("behavior", "create") == "replace":
        assert len(old) == 1, f"{generator['name']} is not there to be replaced"
        old[0]["data"] = data
    else:
        assert "behavior" not in generator and not old, f"{generator['name']} is made twice"
        metadata = {"name": generator["name"]}
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data, "generated": True})


def replace_image(image, objects):
    assert set(image) == {"name", "newName", "newTag"}, f"not understood: {image}"
    found = [container for item in objects for container in pod_of(item).get("containers", [])
             if container["image"] == image["name"]]
    assert found, f"no container has the image {image['name']}"
    for container in found:
        container["image"] = f"{image['newName']}:{image['newTag']}"


def pod_of(item):
    return item.get("spec", {}).get("template", {}).get("spec", {})


def digest(config_map):
    """What kustomize puts behind the name: ten characters of a hash over kind, name and data, none of them a vowel or like one."""
    told = {"kind": "ConfigMap", "name": config_map["metadata"]["name"], "data": config_map["data"]}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(str.maketrans("013ae", "ghkmt"))
