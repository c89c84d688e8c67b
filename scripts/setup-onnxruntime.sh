#!/usr/bin/env bash
# Puts the shared library of the ONNX Runtime that onnxruntime.txt pins under .onnxruntime/.
# Quiet, and done in milliseconds, when it is there already. Safe to interrupt and to run twice at once: everything is
# prepared in a folder of its own, and the library and then its marker are renamed into place.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pin=scripts/onnxruntime.txt
home=.onnxruntime
# The licences of what the library is made of. They have to go wherever it goes.
notices=ThirdPartyNotices.txt

main() {
  local machine platform='' library=''
  machine=$(uname -sm)
  case $machine in
    "Linux x86_64") platform=manylinux_2_28_x86_64 library=libonnxruntime.so ;;
    "Linux aarch64") platform=manylinux_2_28_aarch64 library=libonnxruntime.so ;;
    "Darwin arm64") platform=macosx_14_0_arm64 library=libonnxruntime.dylib ;;
  esac

  # The marker holds the whole pin, so that a new version or hash, and a checkout shared by two kinds of machine, count.
  local marker="$home/$library.pin" wanted
  wanted="$platform $(<"$pin")"
  if [[ -s $home/$library && -s $home/$notices && -f $marker && $(<"$marker") == "$wanted" ]]; then return; fi

  # shellcheck source=scripts/lib.sh
  source scripts/lib.sh
  require_wheel_for "$machine" "$platform"
  require_python "ONNX Runtime is fetched and unpacked"
  install_library "$platform" "$library" "$marker" "$wanted"
}

# require_wheel_for MACHINE PLATFORM: there is a wheel that runs here, or the script ends.
require_wheel_for() {
  local machine=$1 platform=$2 libc
  if [[ -z $platform ]]; then
    no_wheel "there is no ONNX Runtime wheel for this platform: $machine. There is one for Linux on x86_64 and \
aarch64, and for macOS on arm64."
  elif [[ $machine == Darwin* ]]; then
    if [[ $(sw_vers -productVersion) =~ ^(10|11|12|13)\. ]]; then
      no_wheel "there is no ONNX Runtime wheel for macOS $(sw_vers -productVersion); it starts with macOS 14."
    fi
  else
    libc=$(ldd --version 2>&1 || true)
    if [[ $libc == *musl* ]]; then
      no_wheel "there is no ONNX Runtime wheel for musl ($machine, as on Alpine): it needs glibc 2.28 or newer."
    elif [[ $libc =~ [[:space:]]2\.([0-9]+)$'\n' && ${BASH_REMATCH[1]} -lt 28 ]]; then
      no_wheel "this system's glibc 2.${BASH_REMATCH[1]} is too old for ONNX Runtime, which needs 2.28 or newer."
    fi
  fi
}

# no_wheel WHY: such a machine can still bring a library of its own.
no_wheel() {
  if [[ -f ${ORT_DYLIB_PATH:-} ]]; then exit 0; fi
  fail "$1" "Use a machine or a container of such a system (debian:12, ubuntu:24.04), or build ONNX Runtime yourself" \
    "and set ORT_DYLIB_PATH to its shared library."
}

install_library() {
  local platform=$1 library=$2 marker=$3 wanted=$4 version member output
  version=$(sed -n 's/^onnxruntime==\([0-9.]*\).*/\1/p' "$pin")
  case $library in
    *.so) member="onnxruntime/capi/libonnxruntime.so.$version" ;;
    *.dylib) member="onnxruntime/capi/libonnxruntime.$version.dylib" ;;
  esac

  output=$(mkdir -p "$home" 2>&1 && mktemp -d "$home/tmp.XXXXXX" 2>&1) || {
    explain_storage "ONNX Runtime" "$output"
    fail "cannot make $PWD/$home: $output"
  }
  work=$output
  trap 'rm -rf "$work"' EXIT
  # Without these two, an interrupted pip would be explained as a failed one.
  trap 'exit 130' INT
  trap 'exit 143' TERM
  # What a killed run left behind.
  find "$home" -maxdepth 1 -name 'tmp.*' -mmin +60 -exec rm -rf {} +

  echo "Fetching ONNX Runtime $version ($platform, about 23 MB)"
  # TMPDIR: pip's own scratch space is then on the same disk, so that only one disk can be full.
  output=$(TMPDIR=$PWD/$work python3 -m pip download --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation cp --abi cp312 --platform "$platform" --require-hashes --requirement "$pin" \
    --dest "$work" --retries 2 --progress-bar off --disable-pip-version-check </dev/null 2>&1) ||
    explain_pip "ONNX Runtime $version" "$platform" "$output"
  output=$(python3 - "$work"/onnxruntime-*.whl "$member" "$work/$library" "onnxruntime/$notices" "$work/$notices" 2>&1 <<'PYTHON'
import shutil, sys, zipfile

wheel, *pairs = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for member, target in zip(pairs[::2], pairs[1::2]):
        with archive.open(member) as source, open(target, "wb") as copy:
            shutil.copyfileobj(source, copy)
PYTHON
  ) || {
    explain_storage "ONNX Runtime $version" "$output"
    fail "the wheel of ONNX Runtime $version could not be unpacked: $(tail -n 1 <<<"$output")"
  }
  printf '%s\n' "$wanted" >"$work/marker"

  # The old marker goes first: at no time does a marker stand beside a library that it does not describe.
  rm -f "$marker"
  # The file keeps its version in its name, which is where the server reads it; the link is the name that is looked for.
  mv -f "$work/$library" "$home/${member##*/}"
  ln -s "${member##*/}" "$work/link"
  mv -f "$work/link" "$home/$library"
  mv -f "$work/$notices" "$home/$notices"
  mv -f "$work/marker" "$marker"
}

main
