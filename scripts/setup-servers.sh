#!/usr/bin/env bash
# Installs the programs that the tests start (redis-server, PostgreSQL, promtool, openssl, curl, nginx,
# systemd-analyze, chromium with its chromedriver) with the system's package manager. Quiet when they are there. Where this
# user may not install packages, it names them and stops. No service is left running: the tests start their own servers, on
# ports of their own.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=scripts/lib.sh
source scripts/lib.sh

main() {
  local packages=() missing=()
  need redis-server redis-server redis redis redis redis
  found initdb || need initdb postgresql postgresql-server postgresql postgresql postgresql
  need promtool prometheus golang-github-prometheus prometheus prometheus prometheus
  need openssl openssl openssl openssl openssl openssl
  need curl curl curl curl curl curl
  need chromium chromium chromium chromium chromium chromium
  need chromedriver chromium-driver chromedriver chromium chromium-chromedriver chromedriver
  if [[ $(uname -s) == Linux ]]; then
    found nginx || need nginx nginx-light nginx nginx nginx nginx
    need systemd-analyze systemd systemd systemd systemd systemd
    need prlimit util-linux util-linux util-linux util-linux util-linux
  fi
  if [[ ${#packages[@]} == 0 ]]; then return; fi

  local command output
  command=$(install_command "${packages[*]}" "${packages[*]}" "${packages[*]}" "${packages[*]}" "${packages[*]}")
  may_install || fail "the tests need ${missing[*]}, and $(id -un) may not install packages." "Mend it with: $command"
  echo "Installing ${packages[*]} for the tests ($command)"
  output=$(install_packages "${packages[@]}" 2>&1) ||
    fail "${packages[*]} could not be installed." "Mend it with: $command" "$(tail -n 3 <<<"$output")"
  switch_off "${packages[@]}"
  for program in "${missing[@]}"; do
    found "$program" || fail "$program is still not on the PATH after: $command"
  done
}

# need PROGRAM DEBIAN FEDORA ARCH ALPINE BREW: notes the package that brings PROGRAM, when it is not there.
need() {
  if command -v "$1" >/dev/null; then return; fi
  missing+=("$1")
  case $(package_manager) in
    dnf) packages+=("$3") ;;
    pacman) packages+=("$4") ;;
    apk) packages+=("$5") ;;
    brew) packages+=("$6") ;;
    *) packages+=("$2") ;;
  esac
}

# On the PATH, on root's, or where Debian keeps the programs of several versions of PostgreSQL.
found() {
  command -v "$1" >/dev/null || [[ -x /usr/sbin/$1 ]] || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

package_manager() {
  local manager
  for manager in apt-get dnf pacman apk brew; do
    if command -v $manager >/dev/null; then
      echo $manager
      return
    fi
  done
}

# As root, or with a sudo that asks for nothing. brew wants neither.
may_install() {
  case $(package_manager) in
    '') return 1 ;;
    brew) return 0 ;;
  esac
  [[ $(id -u) == 0 ]] || sudo -n true 2>/dev/null
}

as_root() { if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi; }

install_packages() {
  case $(package_manager) in
    apt-get)
      # Recommended packages would bring further services. A list that is too old names files that are gone.
      local install=(env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@")
      as_root "${install[@]}" || { as_root apt-get update && as_root "${install[@]}"; } ;;
    dnf) as_root dnf install --assumeyes --setopt=install_weak_deps=False "$@" ;;
    pacman) as_root pacman -S --noconfirm --needed "$@" ;;
    apk) as_root apk add "$@" ;;
    brew) brew install "$@" ;;
  esac
}

# Debian's packages start their services, now and with the machine. These came for their programs alone.
switch_off() {
  if [[ $(package_manager) != apt-get || ! -d /run/systemd/system ]]; then return; fi
  local service
  for service in "${@%-light}"; do
    as_root systemctl disable --now "$service" >/dev/null 2>&1 ||
      echo "The service $service may be running now; the tests do not need it: systemctl disable --now $service"
  done
}

main
