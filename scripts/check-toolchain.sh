#!/usr/bin/env bash
# Names what a build needs and this machine lacks: Rust, and a C compiler for the crates that bring C with them.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

for tool in cargo rustc; do
  command -v "$tool" >/dev/null ||
    fail "$tool is not on the PATH; Glassbox is built with Rust." \
      "Mend it: install Rust as https://rustup.rs says, or, if it is installed: . \"\$HOME/.cargo/env\""
done
command -v "${CC:-cc}" >/dev/null ||
  fail "there is no C compiler (${CC:-cc}) on the PATH; Rust links with it." \
    "Mend it with: $(install_command build-essential gcc base-devel build-base gcc)"
