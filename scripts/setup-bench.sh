#!/usr/bin/env bash
# Makes ready what the benchmark measures the server against: wrk and redis-server, and the Python packages of
# benchmark/python-api in .bench-python/. Quiet when all is there. Safe to interrupt: the packages are installed into a
# folder of their own, which counts only when it is complete.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pin=benchmark/python-api/requirements.txt
home=.bench-python
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

main() {
  local program wanted output
  for program in wrk redis-server; do
    command -v "$program" >/dev/null ||
      fail "the benchmark needs $program, which is not on the PATH." \
        "Mend it with: $(install_command "${program}" "${program/redis-server/redis}" "${program/redis-server/redis}" \
          "${program/redis-server/redis}" "${program/redis-server/redis}")"
  done
  require_python "the service that the benchmark compares with is installed"
  wanted="$(python3 -ISc 'import sys; print(sys.version, sys.prefix)') $(uname -sm) $PWD $(<"$pin")"
  if [[ -f $home/.pin && $(<"$home/.pin") == "$wanted" ]]; then return; fi

  echo "Installing the Python packages that the benchmark compares with (about 350 MB)"
  rm -rf "$home"
  output=$(python3 -m venv "$home" 2>&1) || {
    explain_storage "the benchmark's Python packages" "$output"
    fail "python3 cannot make a virtual environment." "Mend it with: $(install_command python3-venv python3 python python3 python)" \
      "$(tail -n 3 <<<"$output")"
  }
  # Only wheels: nothing is ever compiled.
  output=$("$home/bin/python" -m pip install --only-binary=:all: --requirement "$pin" --retries 2 --progress-bar off \
    --disable-pip-version-check </dev/null 2>&1) ||
    explain_pip "the benchmark's Python packages" "Python on $(uname -sm)" "$output"
  printf '%s\n' "$wanted" >"$home/.pin"
}

main
