#!/usr/bin/env bash
# Runs every test: the real binary, the real ClickHouse engine, a real Kafka and Postgres, real clients.
# Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "==> installing the Python clients that the tests run"
deploy/require.sh python3 "Python 3.10 or later, with venv (Debian: python3-venv)"
if [ ! -x deploy/test-venv/bin/python ]; then
  python3 -m venv deploy/test-venv
fi
if ! cmp --silent deploy/test-requirements.txt deploy/test-venv/installed.txt; then
  deploy/test-venv/bin/pip install --quiet --disable-pip-version-check --requirement deploy/test-requirements.txt \
    || { echo "error: pip could not install deploy/test-requirements.txt; check the network and pip's index setting" >&2; exit 1; }
  cp deploy/test-requirements.txt deploy/test-venv/installed.txt
fi

echo "==> installing the OpenID Connect provider that the tests sign in with"
deploy/require.sh npm "Node.js 18 or later with npm"
if ! cmp --silent deploy/oidc/package-lock.json deploy/oidc/node_modules/installed-lock.json; then
  (cd deploy/oidc && npm ci --no-audit --no-fund --loglevel=error) \
    || { echo "error: npm could not install deploy/oidc; check the network and npm's registry setting" >&2; exit 1; }
  cp deploy/oidc/package-lock.json deploy/oidc/node_modules/installed-lock.json
fi

# What tests run beside it, by the name of its Debian package.
missing=()
command -v kcat >/dev/null || missing+=(kcat)
[ -e /usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 ] || missing+=(faketime)
command -v psql >/dev/null || missing+=(postgresql-client)
if [ ${#missing[@]} -gt 0 ] && command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
  echo "==> installing ${missing[*]} for the tests"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}" >/dev/null; } \
    || echo "warning: apt-get could not install ${missing[*]}; the tests that need them are passed over" >&2
fi

log=$(mktemp)
services=$(mktemp -d)
stop_services() {
  [ ! -d "$services/postgres" ] || deploy/postgres/postgres.sh stop "$services/postgres" || true
  [ ! -d "$services/kafka" ] || deploy/kafka/kafka.sh stop "$services/kafka" || true
  rm -rf "$log" "$services"
}
trap stop_services EXIT

if [ -z "${MARGINSTREAM_TEST_POSTGRES:-}" ]; then
  echo "==> starting Postgres for the tests"
  # The server runs as another user if this is root.
  chmod 711 "$services"
  if deploy/postgres/postgres.sh install && deploy/postgres/postgres.sh start "$services/postgres"; then
    MARGINSTREAM_TEST_POSTGRES=$(cat "$services/postgres/url")
    export MARGINSTREAM_TEST_POSTGRES
  fi
fi

if [ -z "${MARGINSTREAM_TEST_KAFKA:-}" ]; then
  echo "==> starting Kafka for the tests"
  if deploy/kafka/kafka.sh start "$services/kafka" >/dev/null; then
    MARGINSTREAM_TEST_KAFKA=$(cat "$services/kafka/bootstrap")
    export MARGINSTREAM_TEST_KAFKA
  fi
fi

echo "==> building and running the tests"
status=0
cargo test --release --workspace --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

# What was passed over is named last, where people look.
grep -hE '^SKIPPED' "$log" | sort -u || true
passed=$(grep -hE '^test result' "$log" | awk '{n += $4} END {print n + 0}')
failed=$(grep -hE '^test result' "$log" | awk '{n += $6} END {print n + 0}')
echo "total: $passed passed, $failed failed"
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
  echo "error: the tests did not build or run; the reason stands above" >&2
fi
exit "$status"
