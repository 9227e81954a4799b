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
dir=$(mktemp -d)
trap 'rm -rf "$dir"; give_back' EXIT
cargo clippy --quiet --test systemd -- -D warnings
program=$(cargo test --no-run --quiet --test systemd --message-format=json |
  python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["reason"] == "compiler-artifact" and message["executable"] and message["target"]["name"] == "systemd":
        print(message["executable"])')
[ -n "$program" ] || die "tests/systemd/ was not built"

# The machine has no network, and its Python is not this host's. So pip's work is done before, here, by that Python and by the
# runner itself: where the image's /usr is the host's. What it makes lies below target/tmp, where the tests look for it.
image=$("$(dirname "$0")/image.sh" | tail -n 1)
printf 'def test_nothing(): pass\n' >"$dir/test_nothing.py"
# shellcheck disable=SC2016 # expanded by the inner shell
unshare --mount --propagation private bash -euc '
  mount --bind "$1/usr" /usr
  PATH=/usr/sbin:/usr/bin:/sbin:/bin exec "$2" grade "$3" --tests "$3" --state-dir "$4"
' environment "$image" "$CARGO_TARGET_DIR/debug/ostest-sandbox" "$dir" "$CARGO_TARGET_DIR/tmp/systemd" >"$dir/log" 2>&1 ||
  { cat "$dir/log" >&2 && die "the environment of suites could not be made with the image's Python"; }

"$(dirname "$0")/run.sh" --systemd --timeout "${OSTEST_VM_TIMEOUT:-1200}" -- "$program" --test-threads=1 "$@"
