#!/usr/bin/env bash
# Makes sure that what a build needs is there: Rust, C and C++ compilers, OpenSSL's headers (for the Kafka and
# Postgres clients). Installs the headers where it may, else says what to do.
set -euo pipefail
cd "$(dirname "$0")"
./require.sh cargo "Rust, stable toolchain, with cargo"
./require.sh cc "a C compiler (Debian: build-essential)"
./require.sh c++ "a C++ compiler (Debian: build-essential)"
./require.sh make "make (Debian: build-essential)"

has_openssl() {
  command -v pkg-config >/dev/null && pkg-config --exists openssl
}

has_openssl && exit
if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
  echo "==> installing OpenSSL's headers"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends libssl-dev pkg-config >/dev/null
fi
has_openssl || {
  echo "error: OpenSSL's headers were not found. Install them with pkg-config (Debian: sudo apt-get install libssl-dev pkg-config), then run the same command again." >&2
  exit 1
}
