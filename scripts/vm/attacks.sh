#!/usr/bin/env bash
# Tries the attack suite in test machines, where nothing can be harmed, and prints lines like those of cargo's tests, and
# tables.
#
#   scripts/vm/attacks.sh [--prove] [--groups] [--only WORD]... 6.12|6.1...
#
#   as on a host: each attack must be contained
#   --prove       with layers off as well: each must be contained where the layer is off that stops it first, and where the one
#                 behind it is; and where all are off, with the first kernel, each must succeed, or its head says why that cannot
#                 be shown
#   --groups      once more with each group of calls allowed that a laboratory can be allowed, and all layers on
#   --only WORD   only those whose name contains a word
#
# What holds by one layer alone is not run with that layer off; its head says why it is alone, and the table, too. The machines
# of several kernels run at a time, if there is memory for them: with all layers off an attack runs alone in its
# machine, which leaves processors idle.
set -euo pipefail
. "$(dirname "$0")/paths.sh"

runs=(nothing) only=() groups=
while [ $# -gt 0 ]; do
  case $1 in
    --prove) runs+=(first second everything) && shift ;;
    --groups) groups=1 && shift ;;
    --only) only+=("$1" "${2:?a word must follow --only}") && shift 2 ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || die "which kernels? $0 [--prove] [--groups] [--only WORD]... 6.12|6.1..."
need_root
find_cargo
cd "$top"
machines=()
trap 'end; rm -rf "${dir:-}"; give_back' EXIT
trap 'exit 130' INT TERM HUP
# Whoever is told to end ends its machine.
end() { [ ${#machines[@]} = 0 ] || { kill "${machines[@]}" 2>/dev/null || true; wait; }; }
dir=$(mktemp -d)
cargo build --quiet
bin=$top/target/debug/ostest-sandbox
if [ -n "$groups" ]; then
  while read -r group; do runs+=("+$group"); done < <("$bin" policy groups --json | python3 -c 'import json, sys; [print(group["group"]) for group in json.load(sys.stdin)]')
fi
# Compiled here, because an emulated processor takes minutes for it; kept with the environments of the tests.
mkdir -p "$top/target/tmp/cache" "$dir/state"
ln -s "$top/target/tmp/cache" "$dir/state/cache"
"$bin" check --attacks --only open_descriptors --state-dir "$dir/state" >"$dir/log" 2>&1 || { cat "$dir/log" && die "the attacks cannot be compiled"; }

# shellcheck disable=SC2016 # expanded in the machine
inside='
top=$1 bin=$2 only=$3
shift 3
mkdir -p /tmp/state && ln -s "$top/target/tmp/cache" /tmp/state/cache
# Debian refuses counters to everybody but root; with them allowed an operator has set this.
echo 2 >/proc/sys/kernel/perf_event_paranoid
for off in "$@"; do
  echo "=== $off"
  case $off in
    nothing) set -- ;;
    +*) set -- --allow "${off#+}" ;;
    *) set -- --off "$off" ;;
  esac
  # shellcheck disable=SC2086
  said=$("$bin" check --attacks --json --concurrent 2 --state-dir /tmp/state $only "$@" 2>/tmp/errors)
  [ -n "$said" ] && echo "$said" || cat /tmp/errors
done
exit 0'

# A machine has 4 GiB, and takes them as it needs them.
at_a_time=$#
[ "$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)" -gt $((5 * $# * 1024 * 1024)) ] || at_a_time=1
# That an attack succeeds where nothing stops it says something of the attack, and one kernel is enough to show it.
runs_of() {
  local run
  for run in "${runs[@]}"; do
    [ "$run" = everything ] && [ "$1" != "$first" ] || echo "$run"
  done
}
first=$1 result=0
for kernel in "$@"; do
  mapfile -t mine < <(runs_of "$kernel")
  "$(dirname "$0")/run.sh" --kernel "$kernel" --timeout "${OSTEST_VM_TIMEOUT:-1800}" -- \
    bash -c "$inside" attacks "$top" "$bin" "${only[*]}" "${mine[@]}" >"$dir/out-$kernel" 2>"$dir/errors-$kernel" &
  machines+=($!)
  [ "$at_a_time" -gt 1 ] || wait $! || true
done
for kernel in "$@"; do
  wait "${machines[0]}" || { cat "$dir/errors-$kernel" >&2 && result=1; }
  machines=("${machines[@]:1}")
  mapfile -t mine < <(runs_of "$kernel")
  python3 "$(dirname "$0")/attacks.py" "$kernel" "${mine[@]}" <"$dir/out-$kernel" || result=1
done
exit $result
