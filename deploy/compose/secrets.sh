#!/usr/bin/env bash
# Makes the secrets that docker-compose.yml hands out: random passwords, each in a file. What is there stays as it is.
#
#   deploy/compose/secrets.sh [FOLDER]      (deploy/compose/secrets)
#
# To change one: delete the folder's files that hold it, run this again, and give the database its new password.
set -euo pipefail
home=${1:-$(dirname "${BASH_SOURCE[0]}")/secrets}

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# secret NAME TEXT: Compose hands files to containers as they are, whoever runs in them, so each can be read by anyone;
# but nobody else on this machine comes into their folder.
secret() {
  if [[ ! -s $home/$1 ]]; then
    (umask 022 && printf '%s\n' "$2" >"$home/$1.new" && mv "$home/$1.new" "$home/$1")
    echo "made $home/$1"
  fi
}

# The line of a file, to be used in another one.
line() { sed -n "s/^$2//p" "$home/$1"; }

mkdir -p "$home"
chmod 700 "$home"
secret redis.conf "requirepass $(random)"
secret redis_url "redis://:$(line redis.conf 'requirepass ')@redis:6379"
secret postgres_password "$(random)"
secret postgres_url "postgres://glassbox:$(line postgres_password '')@postgres:5432/glassbox"
secret grafana_password "$(random)"
