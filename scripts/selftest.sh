#!/usr/bin/env bash
# Runs all tests: formatting, lints, then unit and integration tests with the real git, make, gcc, pytest and kernel.
# As root nothing is skipped; without root, what needs it is counted as skipped.
#
#   sudo scripts/selftest.sh            everything
#   sudo scripts/selftest.sh FILTER...  only tests whose name contains one of the filters
#   sudo scripts/selftest.sh --vm[=6.12|6.1] [FILTER...]
#                                       the integration tests only, in a virtual machine with that kernel (6.12) and
#                                       cgroup v2 alone; emulated, so minutes where it takes seconds outside
set -euo pipefail
. "$(dirname "$0")/common.sh"

find_cargo
trap give_back EXIT
cd "$top"
kernel=
case ${1:-} in
  --vm) kernel=6.12 && shift ;;
  --vm=*) kernel=${1#--vm=} && shift ;;
esac
if [ "$(id -u)" = 0 ]; then
  install_missing build-essential git python3 python3-venv gdb valgrind strace openssl
  export OSTEST_REQUIRE_ROOT=1
fi

if [ $# = 0 ] && [ -z "$kernel" ]; then
  say "== formatting and lints"
  cargo fmt --all --check
  cargo clippy --workspace --all-targets --quiet -- -D warnings
fi
say "== tests"
log=$(mktemp)
if [ -n "$kernel" ]; then
  say "== in a virtual machine with Linux $kernel: emulated, this takes minutes"
  scripts/vm/tests.sh "$kernel" "$@" 2>&1 | tee "$log"
# nextest where it is installed (it is the quicker inner loop); the tests are the same.
elif command -v cargo-nextest >/dev/null; then
  cargo nextest run --workspace --no-fail-fast "$@" 2>&1 | tee "$log"
else
  cargo test --workspace --no-fail-fast -- --nocapture "$@" 2>&1 | tee "$log"
fi
say "== $(grep -c 'SKIPPED:' "$log" || true) tests said that they were skipped"
rm -f "$log"
