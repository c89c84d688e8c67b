#!/usr/bin/env python3
"""Writes the licences of everything that a release is made of: the crates in the binary, and ONNX Runtime.

    scripts/third-party.py FILE

The crates are those that cargo links for this platform, tests and build tools left out; each with the licence that its
author states and the texts that lie beside its sources. Crates that bring no text are named with their licence,
whose text others bring.
"""

import argparse
import hashlib
import json
import pathlib
import re
import subprocess

NAMES = re.compile(r"(?i)^(un)?licen[cs]e|^copying|^notice|^copyright")


def crates():
    """What is linked: (name, version, licence, folder), in the order of their names."""
    target = re.search(r"host: (\S+)", subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout)
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target[1]]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    packages = {package["id"]: package for package in found["packages"]}
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    seen, waiting = set(), [found["resolve"]["root"]]
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        for dependency in nodes[here]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    seen.discard(found["resolve"]["root"])
    for package in sorted((packages[one] for one in seen), key=lambda package: (package["name"], package["version"])):
        # A macro runs in the compiler and is not in the binary, but says what is: named as well.
        yield package["name"], package["version"], package["license"], pathlib.Path(package["manifest_path"]).parent


def texts(folder):
    files = [path for path in folder.iterdir() if path.is_file() and NAMES.match(path.name)]
    for sub in ("LICENSES", "licenses"):
        if (folder / sub).is_dir():
            files += [path for path in (folder / sub).iterdir() if path.is_file()]
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in sorted(files)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=pathlib.Path)
    arguments = parser.parse_args()

    users, without, statement = {}, [], []
    for name, version, licence, folder in crates():
        statement.append(f"{name} {version}: {licence}")
        found = texts(folder)
        if not found:
            without.append((f"{name} {version}", licence))
        for text in found:
            # The same text with other line breaks is the same.
            key = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
            users.setdefault(key, (text, []))[1].append(f"{name} {version}")

    out = ["Glassbox is made of the following parts, under their own licences.", ""]
    out += statement + [""]
    if without:
        out += ["No text comes with these; that of their licence stands below all the same:"]
        out += [f"  {name}: {licence}" for name, licence in without] + [""]
    for text, names in sorted(users.values(), key=lambda entry: (-len(entry[1]), entry[1])):
        out += ["=" * 100, ", ".join(names), "=" * 100, text, ""]
    licence = pathlib.Path(__file__).with_name("onnxruntime-license.txt")
    out += ["=" * 100, "ONNX Runtime; what it is made of stands in ThirdPartyNotices.txt beside it", "=" * 100]
    out += [licence.read_text(encoding="utf-8").strip(), ""]
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    arguments.file.write_text("\n".join(out), encoding="utf-8")
    print(f"{arguments.file}: {len(statement)} crates, {len(users)} texts, {len(without)} without a text of their own")
    for name, licence in without:
        print(f"  {name}: {licence}")


main()
