#!/usr/bin/env python3
"""Writes what a release is made of, in the CycloneDX form that scanners read: the crates that cargo links for this
platform, and ONNX Runtime, which no lock file names.

    scripts/sbom.py FILE
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys

HOME = pathlib.Path(__file__).resolve().parent.parent
# The tool has no other place for it than beside Cargo.toml.
WRITTEN = HOME / "glassbox.cdx.json"


def main():
    target = pathlib.Path(sys.argv[1])
    command = [HOME / ".tools/bin/cargo-cyclonedx", "cyclonedx", "--format", "json", "--spec-version", "1.5"]
    # What only runs while it is built is not in it.
    command += ["--no-build-deps", "--override-filename", WRITTEN.stem, "--quiet"]
    subprocess.run(command, check=True, cwd=HOME)
    bill = json.loads(WRITTEN.read_text())
    WRITTEN.unlink()
    # Neither the time nor a random number: the same sources have the same bill.
    bill["metadata"].pop("timestamp", None)
    bill.pop("serialNumber", None)

    root = bill["metadata"]["component"]["bom-ref"]
    library = onnxruntime()
    bill["components"].append(library)
    bill["dependencies"].append({"ref": library["bom-ref"], "dependsOn": []})
    for entry in bill["dependencies"]:
        if entry["ref"] == root:
            entry["dependsOn"].append(library["bom-ref"])
    # Where it was built is nobody's business; which sources it was built from is.
    text = json.dumps(bill, indent=1).replace(f"path+{HOME.as_uri()}#", "pkg:cargo/")
    text = re.sub(r"\?download_url=file://[^\"#]*", "", text)
    if str(HOME) in text:
        sys.exit(f"error: {HOME} still stands in the bill")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text + "\n")
    print(f"{target}: {len(bill['components'])} components")


def onnxruntime():
    pin = (HOME / "scripts/onnxruntime.txt").read_text()
    version = re.search(r"^onnxruntime==([\d.]+)", pin, re.M)[1]
    component = {
        "type": "library",
        "bom-ref": f"pkg:pypi/onnxruntime@{version}",
        "name": "onnxruntime",
        "version": version,
        "scope": "required",
        "licenses": [{"license": {"id": "MIT"}}],
        "purl": f"pkg:pypi/onnxruntime@{version}",
    }
    for name in ("libonnxruntime.so", "libonnxruntime.dylib"):
        file = HOME / ".onnxruntime" / name
        if file.is_file():
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            component["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return component


main()
