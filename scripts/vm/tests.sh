#!/usr/bin/env bash
# Builds the integration tests here and runs them in the test machine, where cgroup v2 is the only one. Emulated, this
# takes many times as long as outside. Unit tests, which know nothing of the kernel, are left out.
#
#   scripts/vm/tests.sh 6.12|6.1 [FILTER...]
#
# With 6.12 all integration tests run but those that have little to do with the kernel and take minutes where it is
# emulated: of the attacks those that limits stop (those that ids stop are in broken-hosts.sh, without
# Landlock; what is planted for Python to load is Python's matter); of what speaks with a backend or a git server
# (`runner`, `holds`, `spool`, `log`, `git`, `service`, `mock`, `os_nsu`) the two signals; of the command line (`flags`,
# `pipes`, `signals`) and of what is made outside of sandboxes (`environments`, `least`) none; of `proxy` what is seen
# inside; of `words` the build; of `crash` none (that groups of a killed runner are swept is in systemd-tests.sh, with the
# same version of control groups) and of `check` none, because they grade a task each time, for minutes (broken-hosts.sh
# has a fit host of this kernel and what other kernels do to it); of `grade` those in which limits, ids and processes
# matter; of `groups_of_calls` what needs no pytest; of `leftovers` what ends them; of `figures` whether order matters; of
# filters and of what is seen inside (`seccomp_live`, `exec_isolation`) none, because those know nothing of control groups,
# and the oldest kernel has them; of `course`, the harness's and CPython's none, because they run Python's own functions, or
# take a quarter of an hour, and of what pytest reads and says (`battery`, `hidden`, `reasons`, `shadow`, `starved`,
# `student_code`, `trust`) none; of the parsers' seeds none.
# Attacks on the host are for attacks.sh. With 6.1 those run that the kernel matters to: control groups, filters, what an
# `exec` (but for how it ends, which is the newer kernel's part) and one graded task do, and two attacks on pytest that ids
# stop. With filters all of them run that match, on either.
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
case "$kernel $#" in
  "6.12 0")
    left_out="attacks battery check course cpython crash environments exec_isolation faults figures flags git grade groups_of_calls harness hidden holds least leftovers log mock os_nsu pipes policy proxy reasons runner seccomp_live seeds service shadow signals spool starved student_code trust words"
    only="a_memory_limit_says a_time_limit_leaves a_pytest_that_is_killed what_a_starter_starts the_first_signal_lets \
hide_memory kill_by_memory starve_tests two_at_once a_build_that_is_refused \
each_group_is_enough what_a_test_leaves_is_ended the_order_of_tests"
    ;;
  "6.1 0")
    left_out="attacks battery check course cpython crash environments exec_ends exec_leftovers faults figures flags git grade grade_memory groups groups_of_calls harness hidden holds least leftovers log mock os_nsu pipes plan policy proxy reasons runner seeds service shadow signals spool starved student_code trust words"
    only="a_memory_limit_says a_build_that_is_refused become_pytest inside_the_fetch_stage kill_by_memory trace_pytest"
    ;;
esac
"$(dirname "$0")/environments.sh"

dir=$(mktemp -d)
trap 'rm -rf "$dir"; give_back' EXIT
python3 scripts/run_tests.py --list >"$dir/all"
while IFS=$'\t' read -r package program name kind; do
  [ "$kind" = test ] || continue
  which=all
  [[ " $left_out " == *" $name "* ]] && which=some
  printf '%s\t%s\t%s\n' "$package" "$program" "$which"
done <"$dir/all" >"$dir/list"
[ -s "$dir/list" ] || die "there are no integration tests"

# One boot for all. Like cargo, each program runs in its package's directory; like cargo with --no-fail-fast, all of them
# run. Two at a time, and those that take longest first: within a program the last test often runs alone. So that
# their lines stay apart each speaks when it has ended.
# shellcheck disable=SC2016 # expanded in the machine
one='
top=$1 line=$2 only=$3
shift 3
IFS="	" read -r package executable which <<<"$line"
if [ "$which" = some ]; then
  [ -n "$only" ] || exit 0
  # shellcheck disable=SC2086 # one filter a word
  set -- $only
fi
cd "$package"
echo "     Running ${executable##*/}"
# The second is what insta would otherwise ask cargo for.
CARGO_MANIFEST_DIR=$package INSTA_WORKSPACE_ROOT=$top "$executable" --nocapture --test-threads=1 "$@" >"/tmp/${executable##*/}.log" 2>&1
code=$?
exec 9>/tmp/speaking
flock 9
echo "     Output of ${executable##*/}"
cat "/tmp/${executable##*/}.log"
exit $code'
# shellcheck disable=SC2016
inside='
top=$1 list=$2 one=$3 only=$4
shift 4
# Debian refuses counters to everybody but root; with them allowed an operator has set this.
echo 2 >/proc/sys/kernel/perf_event_paranoid
xargs -d "\n" -P 2 -I "{}" bash -c "$one" one "$top" "{}" "$only" "$@" <<<"$list" && exit 0
exit 101'
# Programs get the time that an emulated processor needs, whether or not this one is.
export OSTEST_REQUIRE_ROOT=1 OSTEST_EMULATED=1
# A machine that the emulator lets down takes nothing with it that had ended: the next one runs what is left.
result=0 failed=0
for _ in {1..4}; do
  result=0
  "$(dirname "$0")/run.sh" --once --kernel "$kernel" --timeout "${OSTEST_VM_TIMEOUT:-2400}" -- \
    bash -c "$inside" tests "$top" "$(cat "$dir/list")" "$one" "$only" "$@" | tee "$dir/said" || result=$?
  [ $result = 123 ] || break
  ! grep -q '^test result: FAILED' "$dir/said" || failed=1
  awk '/^     Output of / { name = $3 } /^test result: / { print name }' "$dir/said" >"$dir/ended"
  awk -F '\t' 'FILENAME == ARGV[1] { ended[$1]; next } { n = split($2, parts, "/") } !(parts[n] in ended)' "$dir/ended" "$dir/list" >"$dir/left"
  echo "== the emulator let the machine down: $(wc -l <"$dir/left") of $(wc -l <"$dir/list") programs are left"
  mv "$dir/left" "$dir/list"
  [ -s "$dir/list" ] || { result=0 && break; }
done
[ $failed = 0 ] || exit 101
exit $result
