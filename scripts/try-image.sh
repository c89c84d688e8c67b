#!/usr/bin/env bash
# Builds the image from the Dockerfile as it is written and runs it, on a machine without Docker and without a registry.
#
#   scripts/try-image.sh [--work FOLDER] [--mirror URL] [--mount SOURCE:TARGET]...
#
# Real: buildah carries out every step of the Dockerfile; podman runs what came out, with its own user, a read-only root,
# no capabilities, no new privileges, and the HEALTHCHECK; both as root. Imitated: the two base images, which a registry
# would bring: debian:… is what debootstrap makes of the same release; rust:… is that with gcc, libc6-dev, ca-certificates
# and this machine's Rust of the same version. Not tried: limits of memory and processors (no cgroups are used).
#
#   --work FOLDER            for bases, layers and images, about 6 GB; kept, so that a second run is quick (target/image)
#   --mirror URL             where debootstrap and the bases' apt look for packages (Debian's own)
#   --mount SOURCE:TARGET    a file of this machine that the build steps see: a mirror's pip.conf, a proxy's certificate
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

image=localhost/glassbox:try
arguments=("$@")
work=${CARGO_TARGET_DIR:-target}/image mirror='' mounts=() inside=''

main() {
  while [[ $# -gt 0 ]]; do
    case $1 in
      --work) work=$2 ;;
      --mirror) mirror=$2 ;;
      --mount) mounts+=(--volume "$2:ro") ;;
      --inside) inside=yes; shift; continue ;;
      *) fail "unknown option: $1" "$(sed -n '4p' "${BASH_SOURCE[0]}" | cut -c 5-)" ;;
    esac
    shift 2
  done
  require_machine
  mkdir -p "$work"
  work=$(cd "$work" && pwd)
  storage=(--root "$work/storage" --runroot "$work/run" --storage-driver overlay --log-level fatal)
  if [[ $inside == yes ]]; then
    try_image
  else
    make_bases
    build
    # Mounts and a network of its own: podman finds one tree of cgroups, and port 8080 is free.
    exec unshare --mount --net -- "${BASH_SOURCE[0]}" "${arguments[@]}" --inside
  fi
}

require_machine() {
  [[ $(id -u) == 0 ]] || fail "image layers are made and run as root here." "Mend it: run this with sudo."
  local program
  for program in buildah podman crun debootstrap curl unshare ip; do
    command -v "$program" >/dev/null || fail "$program is not on the PATH." \
      "Mend it with: apt-get install --no-install-recommends buildah podman crun debootstrap curl iproute2"
  done
}

has() { buildah "${storage[@]}" inspect --type image "$1" >/dev/null 2>&1; }

# The base images that the Dockerfile names, under those names.
make_bases() {
  local bases debian rust
  bases=$(sed -n 's/^FROM \([^ ]*\).*/\1/p' Dockerfile | sort -u)
  debian=$(grep '^debian:12' <<<"$bases") rust=$(grep '^rust:.*-bookworm$' <<<"$bases")
  [[ $(wc -l <<<"$bases") == 3 && $bases == *scratch* && -n $debian && -n $rust ]] ||
    fail "the Dockerfile has base images that are not imitated here: ${bases//$'\n'/, }"
  has "$debian" || make_debian "$debian"
  has "$rust" || make_rust "$rust" "$debian"
}

make_debian() {
  step "imitating $1 with debootstrap"
  local root
  root=$(mktemp -d "$work/debian.XXXXXX")
  debootstrap --variant=minbase bookworm "$root" ${mirror:+"$mirror"} >"$work/debootstrap.log" ||
    fail "debootstrap failed." "$(tail -n 3 "$work/debootstrap.log")"
  # As the real one does: what apt fetches and lists stays out of the layers.
  echo 'APT::Keep-Downloaded-Packages "false";' >"$root/etc/apt/apt.conf.d/keep-nothing"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  tar --directory "$root" --create . | podman "${storage[@]}" import --quiet - "docker.io/library/$1"
  rm -rf "$root"
}

make_rust() {
  step "imitating $1 with this machine's Rust"
  local version=${1#rust:} sysroot container
  version=${version%%-*}
  sysroot=$(rustc "+$version" --print sysroot 2>/dev/null) || sysroot=$(rustc --print sysroot)
  [[ $("$sysroot/bin/rustc" --version) == "rustc $version "* ]] ||
    fail "$1 is imitated with Rust $version, which is not here." "Mend it with: rustup toolchain install $version"
  container=$(buildah "${storage[@]}" from --pull-never "docker.io/library/$2")
  buildah "${storage[@]}" run --isolation chroot "$container" -- sh -c \
    'apt-get update && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev' >"$work/rust.log"
  mkdir -p "$(buildah "${storage[@]}" mount "$container")/usr/local/rust"
  tar --directory "$sysroot" --exclude=./share --create ./bin ./lib |
    tar --directory "$(buildah "${storage[@]}" mount "$container")/usr/local/rust" --extract --no-same-owner
  buildah "${storage[@]}" config --env CARGO_HOME=/usr/local/cargo \
    --env PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  buildah "${storage[@]}" commit --quiet --rm "$container" "docker.io/library/$1"
}

build() {
  step "building the image: the Dockerfile's steps"
  buildah "${storage[@]}" bud --isolation chroot --format docker --pull-never --layers ${mounts[@]+"${mounts[@]}"} \
    --build-arg "REVISION=$(git describe --always --dirty 2>/dev/null || echo unknown)" --tag "$image" . 2>&1 |
    tee "$work/build.log" | grep -E --line-buffered '^\[|STEP|Finished|rror'
}

# What lies in the image, in MB, largest first; and that it is small, with one program in it, and what its user may change.
sizes() {
  local container root all programs own
  container=$(buildah "${storage[@]}" from --pull-never "$image")
  root=$(buildah "${storage[@]}" mount "$container")
  (cd "$root" && du --apparent-size --bytes --separate-dirs opt/glassbox/glassbox opt/glassbox/lib lib* usr/lib* opt/glassbox/model 2>/dev/null |
    awk '$1 > 50000' | sort -rn | awk '{ printf "  %7.1f MB  %s\n", $1 / 1e6, $2 }')
  all=$(du --apparent-size --bytes --summarize "$root" | awk '{ printf "%.1f", $1 / 1e6 }')
  programs=$(find "$root" -type f -perm /111 ! -name '*.so*' -printf '/%P ')
  own=$(find "$root" -user 10001 -printf '/%P\n' | sort | tr '\n' ' ')
  buildah "${storage[@]}" rm "$container" >/dev/null
  printf '  %7.1f MB  all of it\n' "$all"
  [[ ${all%.*} -lt 150 ]] || fail "the image takes $all MB; 150 are the most."
  expect "its programs" "$programs" "/opt/glassbox/glassbox "
  expect "what is its user's" "$own" "/etc/glassbox/keys /var/lib/glassbox "
}

try_image() {
  step "sizes"
  sizes
  umount --lazy /sys/fs/cgroup
  mount -t cgroup2 none /sys/fs/cgroup
  ip link set lo up

  step "running it"
  local key answer pid
  forget
  trap forget EXIT
  key=$(contain --rm --volume glassbox-try:/etc/glassbox/keys "$image" \
    --config /etc/glassbox/glassbox.toml keys create --name try)
  contain --detach --name glassbox-try --volume glassbox-try:/etc/glassbox/keys:ro \
    --env GLASSBOX__MODELS__DEFAULT=toxicity --env GLASSBOX__HISTORY__MODE=sqlite "$image" >/dev/null
  local tries
  for tries in {1..100}; do
    if podman "${storage[@]}" healthcheck run glassbox-try >/dev/null 2>&1; then break; fi
    sleep 0.2
  done
  podman "${storage[@]}" healthcheck run glassbox-try ||
    fail "HEALTHCHECK fails after $tries tries." "$(podman "${storage[@]}" logs glassbox-try 2>&1 | tail -n 5)"
  echo "  HEALTHCHECK passes"

  pid=$(podman "${storage[@]}" inspect --format '{{.State.Pid}}' glassbox-try)
  expect "its user" "$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")" 10001
  expect "its capabilities" "$(awk '/^CapEff:/ { print $2 }' "/proc/$pid/status")" 0000000000000000
  expect "no new privileges" "$(awk '/^NoNewPrivs:/ { print $2 }' "/proc/$pid/status")" 1
  expect "its root" "$(awk '$5 == "/" { print substr($6, 1, 2) }' "/proc/$pid/mountinfo")" ro
  expect "without a key" "$(ask --output /dev/null --write-out '%{http_code}' -d '{"text": "you are awful"}')" 401
  answer=$(ask --fail -H "Authorization: Bearer $key" -d '{"text": "you are awful"}')
  [[ $answer == *'"label":"toxic"'* ]] || fail "the answer is another one than expected: $answer"
  echo "  $answer"

  step "stopping it"
  podman "${storage[@]}" stop --time 10 glassbox-try >/dev/null
  expect "its exit code" "$(podman "${storage[@]}" inspect --format '{{.State.ExitCode}}' glassbox-try)" 0
  podman "${storage[@]}" logs glassbox-try 2>&1 | tail -n 1 | cut -c 1-150
}

forget() {
  podman "${storage[@]}" rm --force --time 1 glassbox-try >/dev/null 2>&1 || true
  podman "${storage[@]}" volume rm --force glassbox-try >/dev/null 2>&1 || true
}

# As `docker run --read-only --cap-drop ALL --security-opt no-new-privileges`.
contain() {
  local open
  open=$(ulimit -Hn)
  podman "${storage[@]}" run --runtime crun --cgroups disabled --ulimit "nofile=$open:$open" --ulimit nproc=4096:4096 \
    --network host --read-only --read-only-tmpfs=false --cap-drop all --security-opt no-new-privileges "$@"
}

ask() { curl --silent --show-error http://127.0.0.1:8080/v1/predict -H 'Content-Type: application/json' "$@"; }

expect() {
  [[ $2 == "$3" ]] || fail "$1: $2, and not $3."
  echo "  $1: $2"
}

step() { printf '== %s\n' "$1"; }

main "$@"
