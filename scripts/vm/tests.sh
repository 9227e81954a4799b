#!/usr/bin/env bash
# Builds the integration tests here and runs them in the test machine, where cgroup v2 is the only one. Emulated, this
# takes many times as long as outside. Unit tests, which know nothing of the kernel, are left out.
#
#   scripts/vm/tests.sh 6.12|6.1 [FILTER...]
#
# With 6.12 all integration tests run, with 6.1 those that the kernel matters to: control groups, filters, and what
# `exec` and one graded task do. With filters all of them run that match, on either.
#
# OSTEST_VM_TIMEOUT: seconds after which the machine is stopped; 2400 by default.
set -euo pipefail
. "$(dirname "$0")/paths.sh"

kernel=$1
shift
need_root
find_cargo
cd "$top"

left_out='' only=''
if [ "$kernel" = 6.1 ] && [ $# = 0 ]; then
  left_out="course grade harness runner plan" only=a_memory_limit_says_peak_and_limit
fi
"$(dirname "$0")/environments.sh"

dir=$(mktemp -d)
trap 'rm -rf "$dir"; give_back' EXIT
export left_out
cargo test --workspace --no-run --quiet --message-format=json |
  python3 -c '
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["reason"] != "compiler-artifact" or not message["executable"]:
        continue
    target = message["target"]
    if target["kind"] == ["test"]:
        left_out = target["name"] in os.environ["left_out"].split()
        print(os.path.dirname(message["manifest_path"]), message["executable"], "some" if left_out else "all", sep="\t")
' >"$dir/list"
[ -s "$dir/list" ] || die "there are no integration tests"

# One boot for all. Like cargo, each runs in its package's directory; like cargo with --no-fail-fast, all of them run.
# shellcheck disable=SC2016 # expanded in the machine
inside='
list=$1 only=$2 failed=0
shift 2
while IFS="	" read -r package executable which; do
  [ "$which" = all ] || [ -n "$only" ] || continue
  names=("$@")
  [ "$which" = all ] || names=("$only")
  echo "     Running ${executable##*/}"
  (cd "$package" && CARGO_MANIFEST_DIR=$package "$executable" --nocapture "${names[@]}") || failed=101
done <<<"$list"
exit $failed'
export OSTEST_REQUIRE_ROOT=1
"$(dirname "$0")/run.sh" --kernel "$kernel" --timeout "${OSTEST_VM_TIMEOUT:-2400}" -- \
  bash -c "$inside" tests "$(cat "$dir/list")" "$only" "$@"
