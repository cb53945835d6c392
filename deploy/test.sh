#!/usr/bin/env bash
# Runs every test: the real binary, the real ClickHouse engine, real clients.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "==> installing clickhouse-connect for the client tests"
deploy/require.sh python3 "Python 3.9 or later, with venv (Debian: python3-venv)"
if [ ! -x deploy/test-venv/bin/python ]; then
  python3 -m venv deploy/test-venv
fi
deploy/test-venv/bin/python -c 'import clickhouse_connect' 2>/dev/null \
  || deploy/test-venv/bin/pip install --quiet --disable-pip-version-check --requirement deploy/test-requirements.txt
export MARGINSTREAM_TEST_PYTHON="$PWD/deploy/test-venv/bin/python"

echo "==> building and running all tests"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
cargo test --release --workspace --no-fail-fast 2>&1 | tee "$log" || status=$?

# What was passed over is named last, where people look.
grep -hE '^SKIPPED' "$log" | sort -u || true
passed=$(grep -hE '^test result' "$log" | awk '{n += $4} END {print n + 0}')
failed=$(grep -hE '^test result' "$log" | awk '{n += $6} END {print n + 0}')
echo "total: $passed passed, $failed failed"
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
  echo "error: the tests did not build or run; the reason stands above" >&2
fi
exit "$status"
