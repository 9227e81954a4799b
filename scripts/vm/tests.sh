#!/usr/bin/env bash
# Builds the integration tests here and runs them in the test machine, where cgroup v2 is the only one. Emulated, this
# takes many times as long as outside: about 15 minutes. Unit tests, which know nothing of the kernel, are left out, and
# so are those that install pytest from the network, which the machine does not have.
#
#   scripts/vm/tests.sh KERNEL [FILTER...]
set -euo pipefail
. "$(dirname "$0")/paths.sh"

kernel=$1
shift
need_root
find_cargo
cd "$top"

export needs_network="course grade harness runner"
say "not run in the machine, which has no network: $needs_network"

list=$(mktemp)
trap 'rm -f "$list"; give_back' EXIT
cargo test --workspace --no-run --quiet --message-format=json |
  python3 -c '
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    if message["reason"] != "compiler-artifact" or not message["executable"]:
        continue
    target = message["target"]
    if target["kind"] == ["test"] and target["name"] not in os.environ["needs_network"].split():
        print(os.path.dirname(message["manifest_path"]), message["executable"], sep="\t")
' >"$list"
[ -s "$list" ] || die "there are no integration tests"

# One boot for all. Like cargo, each runs in its package's directory; like cargo with --no-fail-fast, all of them run.
# shellcheck disable=SC2016 # expanded in the machine
inside='
list=$1 failed=0
shift
while IFS="	" read -r package executable; do
  echo "     Running ${executable##*/}"
  (cd "$package" && CARGO_MANIFEST_DIR=$package "$executable" --nocapture "$@") || failed=101
done <<<"$list"
exit $failed'
export OSTEST_REQUIRE_ROOT=1
"$(dirname "$0")/run.sh" --kernel "$kernel" --timeout "${OSTEST_VM_TIMEOUT:-5400}" -- bash -c "$inside" tests "$(cat "$list")" "$@"
