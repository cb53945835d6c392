#!/usr/bin/env bash
# Runs the load scenarios with modest defaults against a server of their own; builds nothing.
# README.md says how to read the figures. Arguments are passed on to every scenario.
set -euo pipefail
cd "$(dirname "$0")/.."

bin="${CARGO_TARGET_DIR:-target}/release"
for program in load marginstream; do
  if [ ! -x "$bin/$program" ]; then
    echo "error: $bin/$program was not built; run 'cargo build --release --workspace' first" >&2
    exit 1
  fi
done

echo "commit    $(git describe --always --dirty 2>/dev/null || echo unknown)"
echo "machine   $(nproc) cores, $(awk '/^MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo 2>/dev/null || echo unknown)"
run() {
  echo
  echo "==> load $*"
  "$bin/load" "$@"
}
run stream --events 1000000 "$@"
run single --rate 1000 --secs 10 "$@"
run freshness --rate 50000 --secs 10 "$@"
run margins --customers 2000 --events 100000 "$@"
