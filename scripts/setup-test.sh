#!/usr/bin/env bash
# Puts the Python packages that test-requirements.txt pins into .python/, which the tests add to PYTHONPATH.
# Quiet when they are there already. Safe to interrupt and to run twice at once: they are installed into a folder of
# their own, which is then renamed into place.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pin=scripts/test-requirements.txt
home=.python
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

main() {
  local python wanted
  python=$(python3 -ISc 'import sys
print("%d.%d" % sys.version_info[:2], sys.implementation.cache_tag, sys.abiflags)' 2>/dev/null) ||
    require_python "the tests' packages are installed"
  # Compiled packages fit one Python on one kind of machine, so both are part of the marker.
  wanted="$python $(uname -sm) $(<"$pin")"
  if installed "$wanted"; then return; fi

  require_python "the tests' packages are installed"
  require_supported "${python%% *}"
  require_one_onnxruntime
  install_packages "${python%% *}" "$wanted"
}

installed() { [[ -f $home/.pin && $(<"$home/.pin") == "$1" ]]; }

require_supported() {
  local mend="Mend it: install one of these and put it first on the PATH as python3. (make run works without.)"
  case $1 in
    3.11 | 3.12 | 3.13 | 3.14) ;;
    3.? | 3.10) fail "Python $1 is too old for the packages that the tests import: they need 3.11 to 3.14." "$mend" ;;
    *) fail "Python $1 is too new for the packages that the tests import: they need 3.11 to 3.14." "$mend" ;;
  esac
}

# The tests compare the server with ONNX Runtime called from Python, which says something only if both are the same.
require_one_onnxruntime() {
  local served tested
  served=$(sed -n 's/^onnxruntime==\([0-9.]*\).*/\1/p' scripts/onnxruntime.txt)
  tested=$(sed -n 's/^onnxruntime==\([0-9.]*\).*/\1/p' "$pin")
  [[ $served == "$tested" ]] ||
    fail "scripts/onnxruntime.txt pins ONNX Runtime $served, $pin pins $tested: make them equal."
}

install_packages() {
  local python=$1 wanted=$2 output
  output=$(mktemp -d "$home.new.XXXXXX" 2>&1) || {
    explain_storage "the tests' Python packages" "$output"
    fail "cannot make a folder in $PWD: $output"
  }
  work=$output
  trap 'rm -rf "$work" "$work.old"' EXIT
  # Without these two, an interrupted pip would be explained as a failed one.
  trap 'exit 130' INT
  trap 'exit 143' TERM
  # What a killed run left behind.
  find . -maxdepth 1 -name "$home.new.*" -mmin +60 -exec rm -rf {} +

  echo "Installing the tests' Python packages (about 350 MB)"
  # The two PIP_ variables undo settings that forbid --target. Only wheels: nothing is ever compiled or run. The pins are
  # the whole list; what packages say about each other, and about Python, is stricter than what they need.
  output=$(TMPDIR=$PWD/$work PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 python3 -m pip install --target "$work" \
    --only-binary=:all: --no-deps --ignore-requires-python --requirement "$pin" --no-compile --retries 2 --progress-bar off \
    --disable-pip-version-check </dev/null 2>&1) ||
    explain_pip "the tests' Python packages" "Python $python on $(uname -sm)" "$output"
  printf '%s\n' "$wanted" >"$work/.pin"
  # mktemp makes folders for one user only.
  chmod 755 "$work"

  if installed "$wanted"; then return; fi
  # A folder cannot be renamed over a full one: the old one steps aside. Who comes second finds the first one's work.
  python3 - "$work" "$home" <<'PYTHON'
import os, sys

new, home = sys.argv[1:]
try:
    os.rename(home, new + ".old")
except FileNotFoundError:
    pass
try:
    os.rename(new, home)
except OSError:
    if not os.path.exists(os.path.join(home, ".pin")):
        raise
PYTHON
}

main
