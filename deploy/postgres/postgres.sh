#!/usr/bin/env bash
# Runs a Postgres server of the system's packages on loopback, for the tests and for trying things.
#   postgres.sh install      makes sure that the server's programs are there
#   postgres.sh start DIR    starts a server on DIR/data and writes its URL to DIR/url
#   postgres.sh stop DIR     stops it
# A second start serves the same data on the same port. The server listens on 127.0.0.1 only; the password in
# DIR/url is its superuser's. DIR must not be in a directory that others may not enter, if this runs as root.
set -euo pipefail

fail() {
  echo "error: $*" >&2
  exit 1
}

# Prints the directory of the newest server's programs.
find_programs() {
  local newest
  newest=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/postgres' 2>/dev/null | sort -V | tail -n 1)
  newest=${newest:-$(command -v postgres || true)}
  [ -n "$newest" ] || return 1
  dirname "$(readlink -f "$newest")"
}

install_server() {
  if find_programs >/dev/null; then
    return
  fi
  command -v apt-get >/dev/null || fail "no Postgres server was found; install one of version 13 or later"
  [ "$(id -u)" -eq 0 ] || fail "no Postgres server was found; install one: sudo apt-get install postgresql"
  echo "==> installing the Postgres server"
  # The package would start a server of its own; this keeps it from doing so.
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] \
    || echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends postgresql >/dev/null
}

# The server refuses to run as root: there, it runs as the package's user, or else as nobody.
owner() {
  if [ "$(id -u)" -ne 0 ]; then
    id -un
  elif id postgres >/dev/null 2>&1; then
    echo postgres
  else
    echo nobody
  fi
}

as_owner() {
  if [ "$(id -u)" -ne 0 ]; then
    "$@"
  else
    # Its own directory may be closed to the other user.
    (cd / && setpriv --reuid "$(owner)" --regid "$(id -g "$(owner)")" --clear-groups "$@")
  fi
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

random_password() {
  head -c 16 /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}

initialize() {
  local dir=$1 programs=$2
  (umask 077 && random_password > "$dir/password")
  if [ "$(id -u)" -eq 0 ]; then
    chown "$(owner)" "$dir" "$dir/password"
  fi
  as_owner "$programs/initdb" --pgdata="$dir/data.new" --username=marginstream --pwfile="$dir/password" \
    --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 > "$dir/initdb.log" 2>&1 \
    || fail "initdb failed; see $dir/initdb.log"
  as_owner tee -a "$dir/data.new/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
port = $(free_port)
unix_socket_directories = ''
max_connections = 300
shared_buffers = 32MB
max_wal_size = 256MB
fsync = on
CONF
  # A directory that was cut short is not taken for one that is whole.
  as_owner mv "$dir/data.new" "$dir/data"
}

# Prints the id of the server's process, if it runs. A process that took over an old id is told by its arguments.
server_pid() {
  local pid
  pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) || return 1
  [[ $(ps -p "$pid" -o args= 2>/dev/null) == *"$(cd "$1" && pwd)/data"* ]] || return 1
  echo "$pid"
}

start() {
  local dir=$1 programs attempt
  programs=$(find_programs) || fail "no Postgres server was found; run: $0 install"
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  if [ ! -d "$dir/data" ]; then
    rm -rf "$dir/data.new"
    initialize "$dir" "$programs"
  fi
  if ! server_pid "$dir" >/dev/null; then
    # After a kill, sessions of the old server may hold its memory for a moment.
    for attempt in 1 2 3 4 5 failed; do
      [ "$attempt" != failed ] || fail "the server did not start; see $dir/log"
      as_owner "$programs/pg_ctl" start --wait --timeout=60 --silent --pgdata="$dir/data" --log="$dir/log" \
        </dev/null >/dev/null 2>&1 && break
      sleep 1
    done
  fi
  local port
  port=$(awk '$1 == "port" {print $3}' "$dir/data/postgresql.conf" | tail -n 1)
  (umask 077 && echo "postgres://marginstream:$(cat "$dir/password")@127.0.0.1:$port/postgres" > "$dir/url")
}

stop() {
  local dir=$1 pid
  pid=$(server_pid "$dir") || return 0
  # SIGINT ends sessions and closes in order; SIGTERM would wait for them to leave.
  kill -INT "$pid"
  for _ in $(seq 300); do
    server_pid "$dir" >/dev/null || return 0
    sleep 0.1
  done
  fail "the server, process $pid, did not stop within 30 s"
}

case "${1:-} $#" in
  "install 1") install_server ;;
  "start 2") start "$2" ;;
  "stop 2") stop "$2" ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
