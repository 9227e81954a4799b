#!/usr/bin/env bash
# Boots machines that lack one thing each, and looks whether `check` names it, and what mends it, and nothing else; one whose
# clock jumps, and looks whether its canary notices; and one without Landlock, in which attacks on pytest must fail all the
# same. Prints lines like those of cargo's tests.
#
#   scripts/vm/broken-hosts.sh [FILTER...]
set -euo pipefail
. "$(dirname "$0")/paths.sh"

need_root
find_cargo
cd "$top"
trap 'rm -f "${log:-}"; give_back' EXIT
export CARGO_TARGET_DIR=$top/target
cargo build --quiet
"$(dirname "$0")/environments.sh"

# judge NAME REMEDY EXPECTED: reads what `check --json` said. NAME is the one finding that may be red, with REMEDY in what
# mends it; none where EXPECTED is 0.
judge() {
  python3 -c '
import json, sys
name, remedy, expected = sys.argv[1:]
answer = json.load(sys.stdin)
red = [finding for finding in answer["findings"] if finding["grade"] == "red"]
wrong = ""
if expected == "0":
    green = [f["name"] for f in answer["findings"] if f["grade"] == "green"]
    wrong = red and "red: %s" % red or ("canary" not in green and "the canary did not sing: %s" % answer)
elif [finding["name"] for finding in red] != [name]:
    wrong = "%s alone should be red, and not %s" % (name, red)
elif remedy not in red[0]["remedy"]:
    wrong = "the remedy of %s should hold %r" % (red[0], remedy)
print(wrong or "", end="")' "$1" "$2" "$3"
}

passed=0 failed=0
# host TEST CODE NAME REMEDY APPEND BEFORE: `check` must exit with CODE on a host that was booted with APPEND and treated
# with BEFORE.
host() {
  local test=$1 code=$2 name=$3 remedy=$4 append=$5 before=$6 out result=0 wrong
  case " ${filters[*]} " in
    "  ") ;;
    *) [[ $test =~ $(IFS='|' && printf '%s' "${filters[*]}") ]] || return 0 ;;
  esac
  # The environments are those that this host has made; the machine has no network.
  out=$("$(dirname "$0")/run.sh" --append "$append" --timeout 300 -- sh -c "$before"'
    mkdir -p /tmp/state && ln -s "$1/tmp/cache" /tmp/state/cache && exec "$1/debug/ostest-sandbox" check --json --state-dir /tmp/state
  ' check "$CARGO_TARGET_DIR") || result=$?
  wrong=$(judge "$name" "$remedy" "$code" <<<"$out") || wrong="no JSON: $out"
  [ "$result" = "$code" ] || wrong="exit code $result, and not $code. $wrong"
  if [ -z "$wrong" ]; then
    echo "test $test ... ok" && passed=$((passed + 1))
  else
    printf 'test %s ... FAILED\n%s\n' "$test" "$wrong" && failed=$((failed + 1))
  fi
}

# Whether attacks fail where the host lacks a layer, and the operator has waived it: LAYER, and what takes it away at boot.
attacks_without() {
  local test=attacks_fail_without_$1 program result=0
  [ ${#filters[@]} = 0 ] || [[ $test =~ $(IFS='|' && printf '%s' "${filters[*]}") ]] || return 0
  program=$(cargo test --test attacks --no-run --quiet --message-format=json |
    python3 -c 'import json, sys; print([m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable") and m["target"]["name"] == "attacks"][0])')
  "$(dirname "$0")/run.sh" --append "$2" --timeout 600 -- env OSTEST_REQUIRE_ROOT=1 OSTEST_TEST_WITHOUT="$1" \
    "$program" --nocapture --test-threads=2 become_pytest kill_pytest limit_pytest trace_pytest write_report >"$log" 2>&1 || result=$?
  if [ $result = 0 ]; then
    echo "test $test ... ok" && passed=$((passed + 1))
  else
    printf 'test %s ... FAILED\n' "$test" && cat "$log" && failed=$((failed + 1))
  fi
}

filters=("$@")
log=$(mktemp)
host a_host_that_has_everything 0 '' '' '' ''
host a_host_without_the_memory_controller 2 cgroups 'boot without cgroup_disable=memory' cgroup_disable=memory ''
host a_host_with_landlock_off 2 landlock 'lsm=landlock,yama' lsm=yama ''
host a_host_without_user_namespaces 2 'user namespaces' 'sysctl -w user.max_user_namespaces=' '' \
  'echo 0 >/proc/sys/user/max_user_namespaces;'
host a_host_without_git 2 git 'apt-get install git' '' 'for git in $(which -a git); do rm -f "$git"; done;'
# It is set 1.4 days forth or back twice a second. What is measured and what ends by the clock must not notice.
# shellcheck disable=SC2016 # expanded in the machine
host a_host_whose_clock_jumps 0 '' '' '' \
  'begun=$(date +%s)
  while sleep 0.5 && date -s "@$(($(date +%s) + 123456))" && sleep 0.5 && date -s "@$(($(date +%s) - 123456))"; do :; done >/dev/null 2>&1 &
  until [ $(($(date +%s) - begun)) -gt 100000 ]; do tries=$((tries + 1)) && [ $tries -lt 100 ] && sleep 0.05 || exit 3; done;'
attacks_without landlock lsm=yama
echo
echo "test result: $([ $failed = 0 ] && echo ok || echo FAILED). $passed passed; $failed failed; 0 ignored"
[ $failed = 0 ]
