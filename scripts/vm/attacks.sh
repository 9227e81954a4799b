#!/usr/bin/env bash
# Tries the attack suite in the test machine, where nothing can be harmed, and prints lines like those of cargo's tests, and
# tables.
#
#   scripts/vm/attacks.sh 6.12|6.1            as on a host: each attack must be contained
#   scripts/vm/attacks.sh 6.12|6.1 --prove    with layers off as well: each must be contained where the layer is off that
#                                             stops it first, and where the one behind it is; and where all are off each
#                                             must succeed, or its head says why that cannot be shown
#
# What holds by one layer alone is not run with that layer off; its head says why it is alone, and the table, too.
set -euo pipefail
. "$(dirname "$0")/paths.sh"

kernel=$1
prove=${2:-}
need_root
find_cargo
cd "$top"
trap 'rm -rf "${dir:-}"; give_back' EXIT
dir=$(mktemp -d)
cargo build --quiet
bin=$top/target/debug/ostest-sandbox
# Compiled here, because an emulated processor takes minutes for it; kept with the environments of the tests.
mkdir -p "$top/target/tmp/cache" "$dir/state"
ln -s "$top/target/tmp/cache" "$dir/state/cache"
"$bin" check --attacks --only open_descriptors --state-dir "$dir/state" >"$dir/log" 2>&1 || { cat "$dir/log" && die "the attacks cannot be compiled"; }

runs=(nothing)
[ "$prove" = --prove ] && runs+=(first second everything)
# shellcheck disable=SC2016 # expanded in the machine
inside='
top=$1 bin=$2
shift 2
mkdir -p /tmp/state && ln -s "$top/target/tmp/cache" /tmp/state/cache
for off in "$@"; do
  echo "=== $off"
  set -- --off "$off"
  [ "$off" != nothing ] || set --
  said=$("$bin" check --attacks --json --concurrent 2 --state-dir /tmp/state "$@" 2>/tmp/errors)
  [ -n "$said" ] && echo "$said" || cat /tmp/errors
done
exit 0'
"$(dirname "$0")/run.sh" --kernel "$kernel" --timeout "${OSTEST_VM_TIMEOUT:-1800}" -- \
  bash -c "$inside" attacks "$top" "$bin" "${runs[@]}" >"$dir/out"
python3 "$(dirname "$0")/attacks.py" "$kernel" "${runs[@]}" <"$dir/out"
