# shellcheck shell=bash
# What the scripts beside this file share: how a failure is told, and what goes wrong with Python and pip.
# Runs on bash 3.2, which is what macOS has. Messages are recognised by their English words: callers set LC_ALL=C.

# fail WHAT [REMEDY...]: says what is wrong and what mends it, one remedy per line, and ends the script.
fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  if [[ $# -gt 0 ]]; then printf '  %s\n' "$@" >&2; fi
  exit 1
}

# install_command DEBIAN FEDORA ARCH ALPINE BREW: the command that installs a package here, by its name there.
install_command() {
  local sudo="sudo "
  if [[ $(id -u) == 0 ]]; then sudo=""; fi
  if command -v apt-get >/dev/null; then
    echo "${sudo}apt-get install $1"
  elif command -v dnf >/dev/null; then
    echo "${sudo}dnf install $2"
  elif command -v pacman >/dev/null; then
    echo "${sudo}pacman -S $3"
  elif command -v apk >/dev/null; then
    echo "${sudo}apk add $4"
  elif command -v brew >/dev/null; then
    echo "brew install $5"
  else
    echo "install the package $1 with this system's package manager"
  fi
}

# require_python PURPOSE: python3 starts and has pip, or the script ends.
require_python() {
  local words
  command -v python3 >/dev/null ||
    fail "python3 is not on the PATH; $1 with it." \
      "Mend it with: $(install_command "python3 python3-pip" "python3 python3-pip" "python python-pip" \
        "python3 py3-pip" python)"
  # A version manager leaves a python3 on the PATH that starts nothing.
  words=$(python3 -c '' 2>&1) ||
    fail "$(command -v python3) does not start: $words"
  words=$(python3 -m pip --version 2>&1) && return
  if [[ $words == *"No module named pip"* ]]; then
    fail "python3 has no pip; $1 with it." \
      "Mend it with: $(install_command python3-pip python3-pip python-pip py3-pip python)" \
      "or, where Python did not come from a package: python3 -m ensurepip"
  fi
  fail "pip does not start: $(tail -n 1 <<<"$words")" \
    "Mend it with: python3 -m ensurepip --upgrade"
}

# explain_storage WHAT OUTPUT: ends the script when OUTPUT tells that WHAT found no room, or no writable folder.
explain_storage() {
  local what=$1 output=$2 words
  words=$(grep -m 1 -E 'No space left|quota exceeded|Read-only file system|Permission denied' <<<"$output") || return 0
  case $words in
    *"No space left"* | *"quota exceeded"*)
      fail "the disk is full: no room for $what." \
        "Mend it: free about 500 MB where $PWD is, then run the same command again." "$words" ;;
    *"Read-only"*)
      fail "a read-only file system: no place for $what." \
        "Mend it: clone the repository to a disk that can be written." "$words" ;;
    *)
      fail "the user $(id -un) may not write there: no place for $what." \
        "Mend it with: sudo chown -R $(id -un) '$PWD'" "$words" ;;
  esac
}

# explain_pip WHAT PLATFORM OUTPUT: ends the script with the one cause that pip's output tells of.
# WHAT was to be fetched, for PLATFORM.
explain_pip() {
  local what=$1 platform=$2 output=$3 last version
  explain_storage "$what" "$output"
  last=$(grep -v '^[[:space:]]*$' <<<"$output" | tail -n 6 | cut -c 1-300 | sed '1s/^/  /; 2,$s/^/    /' || true)
  if [[ $output == *"DO NOT MATCH THE HASHES"* ]]; then
    fail "hash mismatch: the file that came as $what is not the one that the repository pins. Nothing was installed." \
      "Mend it: run the same command again with PIP_NO_CACHE_DIR=1. If that fails in the same way, ask who runs the" \
      "package mirror or proxy between here and the index; do not change the hash." "pip said:" "$last"
  elif [[ $output == *CERTIFICATE_VERIFY_FAILED* ]]; then
    fail "the package index's certificate is not trusted: $what could not be fetched." \
      "Mend it: name the certificate of the proxy or mirror with PIP_CERT=/path/to/certificate.pem." "pip said:" "$last"
  elif [[ $output =~ (Retrying \(Retry|Max retries exceeded|ConnectionError|timed out) ]]; then
    fail "the package index cannot be reached: $what could not be fetched." \
      "Mend it: connect this machine to the network, or name a proxy with HTTPS_PROXY or a mirror with PIP_INDEX_URL," \
      "then run the same command again." "pip said:" "$last"
  fi
  # pip 20.1 and 20.2 overlook such wheels; before 19.2 the options were others.
  version=$(python3 -m pip --version | cut -d ' ' -f 2)
  if [[ $version =~ ^(1?[0-9]|20\.[0-2])(\.|$) ]]; then
    fail "pip $version is too old to fetch $what; 20.3 can." \
      "Mend it with: python3 -m pip install --upgrade pip" "pip said:" "$last"
  elif [[ $output == *"not a trusted or secure host"* ]]; then
    fail "pip ignores the package mirror that it is set to use, because it is plain HTTP: $what could not be fetched." \
      "Mend it: use its https address, or allow it by name with PIP_TRUSTED_HOST." "pip said:" "$last"
  elif [[ $output == *"(from versions: none)"* ]]; then
    fail "the package index offers nothing for $platform: $what could not be fetched." \
      "Mend it: look which index or mirror pip is set to use (python3 -m pip config list), and whether it is complete" \
      "and in order; name another one with PIP_INDEX_URL." "pip said:" "$last"
  elif [[ $output =~ No\ matching\ distribution\ found\ for\ ([^[:space:]]+) ]]; then
    fail "the package index has no wheel of ${BASH_REMATCH[1]} for $platform." \
      "Mend it: if pip is set to use a mirror (python3 -m pip config list), name a complete one with PIP_INDEX_URL." \
      "pip said:" "$last"
  fi
  fail "pip could not fetch $what." "pip said:" "$last"
}
