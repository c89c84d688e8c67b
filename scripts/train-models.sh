#!/usr/bin/env bash
# Retrains the bundled models, in a Python environment of its own under .train/. Called as `make models DATA=FILE`.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

data=${1:-}
[[ -n $data ]] ||
  fail "no training data named." "Mend it with: make models DATA=path/to/labeled_data.csv"
[[ -f $data && -r $data ]] ||
  fail "the training data cannot be read: $data" "Mend it: make models DATA=path/to/labeled_data.csv"
# The training script may change its folder.
data=$(cd "$(dirname "$data")" && pwd)/$(basename "$data")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

require_python "the models are trained"
# The marker is written last, so that an environment that was cut short is made again.
pin=model/training/requirements.txt
if [[ ! -f .train/.pin || $(<.train/.pin) != "$(python3 -V) $(<"$pin")" ]]; then
  rm -rf .train
  echo "Making a Python environment for the training in .train/"
  words=$(LC_ALL=C python3 -m venv .train 2>&1) || {
    if [[ $words == *ensurepip* ]]; then
      fail "this Python cannot make virtual environments." \
        "Mend it with: $(install_command python3-venv python3 python python3 python)"
    fi
    explain_storage "the training's Python environment" "$words"
    fail "python3 -m venv .train failed: $(tail -n 1 <<<"$words")"
  }
  words=$(LC_ALL=C .train/bin/python -m pip install --requirement "$pin" --progress-bar off \
    --disable-pip-version-check </dev/null 2>&1) ||
    explain_pip "the training's Python packages" "$(python3 -V) on $(uname -sm)" "$words"
  printf '%s\n' "$(python3 -V) $(<"$pin")" >.train/.pin
fi

exec .train/bin/python model/training/train_all.py --data "$data"
