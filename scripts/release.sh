#!/usr/bin/env bash
# Builds what is shipped and packs it: the binary, ONNX Runtime, the models, the units, the licences, the SBOM. The same
# sources and the same Rust give the same bytes, whatever folder and user they are built in: names of folders are left out
# of the binary, and the archive has the time of the last commit.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

target=${1:-target}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=glassbox-$version-$(uname -m)-linux

main() {
  git diff --quiet HEAD || fail "there are changes that are not committed: nobody could build this again."
  build
  pack
  (cd "$target/dist" && sha256sum "$name.tar.gz" | tee "$name.tar.gz.sha256")
}

build() {
  local cargo_home=${CARGO_HOME:-$HOME/.cargo} folder
  mkdir -p "$target"
  folder=$(cd "$target" && pwd -P)
  export GLASSBOX_REVISION SOURCE_DATE_EPOCH
  GLASSBOX_REVISION=$(git describe --always --abbrev=12)
  SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
  # The longest comes last, because the last one that fits counts.
  export RUSTFLAGS="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$PWD=/glassbox --remap-path-prefix=$folder=/target"
  export CFLAGS="-ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$PWD=/glassbox -ffile-prefix-map=$folder=/target"
  # A folder of its own: with other flags, all else in target/ would be built anew.
  cargo build --release --locked --bin glassbox --target-dir "$folder/shipped"
  sha256sum "$target/shipped/release/glassbox"
}

pack() {
  local root=$target/dist/$name
  rm -rf "$root"
  mkdir -p "$root/lib" "$root/model"
  cp "$target/shipped/release/glassbox" "$root/"
  cp -P .onnxruntime/libonnxruntime.so* .onnxruntime/ThirdPartyNotices.txt "$root/lib/"
  rm -f "$root"/lib/*.pin
  # What is committed of them, and nothing that lies beside it.
  git archive HEAD model config/production.toml deploy/systemd deploy/nginx LICENSE README.md DEPLOYMENT.md SECURITY.md |
    tar --extract --directory "$root" --exclude=model/training
  cp "$target/sbom/glassbox.cdx.json" "$target/sbom/THIRD-PARTY.txt" "$root/"
  tar --create --sort=name --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw --mtime="@$(git log -1 --format=%ct)" \
    --directory "$target/dist" "$name" | gzip --no-name --best >"$target/dist/$name.tar.gz"
}

main
