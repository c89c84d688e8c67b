#!/usr/bin/env bash
# Builds the tools of `make lint`, `make audit` and `make sbom` that cargo does not bring, into .tools/. Quiet when they are there
# already. Their versions stand here alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# tool NAME VERSION MINUTES: cargo keeps the list of what it installed, and a lock around it.
tool() {
  if [[ -x .tools/bin/$1 ]] && grep -qF "\"$1 $2 " .tools/.crates.toml 2>/dev/null; then return; fi
  echo "Building $1 $2 (once, about $3 min on two cores)"
  cargo install --quiet --locked --version "$2" --root .tools "$1"
}

tool cargo-machete 0.9.2 1
tool cargo-deny 0.20.2 3
# Only what makes a release needs it.
if [[ ${1:-} == sbom ]]; then tool cargo-cyclonedx 0.5.9 3; fi
