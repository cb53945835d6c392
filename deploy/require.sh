#!/usr/bin/env bash
# Fails with a sentence unless a command is there.
#   require.sh COMMAND "WHAT PROVIDES IT"
set -euo pipefail
command -v "$1" >/dev/null || {
  echo "error: '$1' was not found. Install $2, then run the same command again." >&2
  exit 1
}
