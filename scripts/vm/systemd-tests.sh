#!/usr/bin/env bash
# Builds the tests of tests/systemd/ here and runs them in a machine that systemd runs (run.sh --systemd).
#
#   scripts/vm/systemd-tests.sh [FILTER...]
set -euo pipefail
. "$(dirname "$0")/paths.sh"

need_root
find_cargo
cd "$top"
# The machine sees the checkout and nothing else at its own place; a program knows where it was built.
export CARGO_TARGET_DIR=$top/target
trap give_back EXIT
cargo clippy --quiet --test systemd -- -D warnings
program=$(cargo test --no-run --quiet --test systemd --message-format=json |
  python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["reason"] == "compiler-artifact" and message["executable"] and message["target"]["name"] == "systemd":
        print(message["executable"])')
[ -n "$program" ] || die "tests/systemd/ was not built"
"$(dirname "$0")/run.sh" --systemd --timeout "${OSTEST_VM_TIMEOUT:-1200}" -- "$program" --test-threads=1 "$@"
