#!/usr/bin/env bash
# Runs all tests, in eight parts, with the real git, make, gcc, pytest and kernel:
#
#   host          formatting, lints, unit and integration tests on this host
#   debian 12     the tests that grade, as a new user of a fresh Debian 12 runs them (scripts/roots/tests.sh)
#   debian 13     the same on a fresh Debian 13
#   vm 6.12       the integration tests in a virtual machine with Linux 6.12, where cgroup v2 is the only one
#   vm 6.1        those that a kernel matters to with Linux 6.1, the oldest that is tested
#   vm systemd    the runner on a host that systemd runs: as a unit, and started by hand
#   vm lacking    `check` in machines that lack one thing each, or whose clock jumps, and attacks in one without Landlock
#   vm attacks    the attack suite with both kernels: with all layers on, and with single ones off, it must fail; with all of
#                 them off, on the newer one, it must succeed (scripts/vm/attacks.sh)
#
#   sudo scripts/selftest.sh            all of them
#   sudo scripts/selftest.sh --host[=PROGRAM,PROGRAM...] [FILTER...]
#   sudo scripts/selftest.sh --root=12|13 [FILTER...]
#   sudo scripts/selftest.sh --vm[=6.12|6.1|systemd|lacking] [FILTER...]
#                                       one part; with filters only tests whose name contains one of them, with
#                                       programs only those that are in tests/PROGRAM
#   sudo scripts/selftest.sh --prove-attacks[=6.12|6.1] [FILTER...]
#                                       the attack suite with both kernels or one
#   sudo scripts/selftest.sh FILTER...  the same as --host FILTER...
#
# As root nothing is skipped: what cannot run fails. Without root, what needs it is counted as skipped, the machines
# included. They are emulated where KVM does not work, and take minutes then. The exit code is 0 when everything passed.
set -euo pipefail
. "$(dirname "$0")/common.sh"

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" && exit "$1"; }

parts=(host debian-12 debian-13 6.12 6.1 systemd lacking attacks)
kernels=(6.12 6.1)
programs=()
case ${1:-} in
  --help | -h) usage 0 ;;
  --host) parts=(host) && shift ;;
  --host=*) parts=(host) && IFS=, read -r -a programs <<<"${1#--host=}" && shift ;;
  --root=12 | --root=13) parts=("debian-${1#--root=}") && shift ;;
  --vm) parts=(6.12) && shift ;;
  --vm=6.12 | --vm=6.1 | --vm=systemd | --vm=lacking) parts=("${1#--vm=}") && shift ;;
  --prove-attacks) parts=(attacks) && shift ;;
  --prove-attacks=6.12 | --prove-attacks=6.1) parts=(attacks) && kernels=("${1#--prove-attacks=}") && shift ;;
  -*) usage 2 >&2 ;;
  ?*) parts=(host) ;;
esac

find_cargo
cd "$top"
logs=$(mktemp -d)
cleanup() {
  rm -rf "$logs"
  give_back
}
on_end cleanup
if [ "$(id -u)" = 0 ]; then
  install_missing "${test_packages[@]}"
  # Python's own tests, which other builds of Python than Debian's have with them.
  python3 -c 'import test.test_subprocess' 2>/dev/null ||
    install_missing "$(python3 -c 'import sys; print("libpython%d.%d-testsuite" % sys.version_info[:2])')"
  export OSTEST_REQUIRE_ROOT=1
fi
# Tests wait for clocks and for programs that die; with one a processor, processors wait for tests.
export NEXTEST_TEST_THREADS=${NEXTEST_TEST_THREADS:-$(($(nproc) * 3 / 2))}
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$NEXTEST_TEST_THREADS}

host() {
  local all=$# which=(--workspace)
  [ ${#programs[@]} = 0 ] || { which=("${programs[@]/#/--test=}") && all=1; }
  if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
    say "== this host has a unified cgroup v2 hierarchy: what follows is already the real thing"
  else
    say "== this host has cgroup v1 hierarchies: v2 is tested in the virtual machines"
  fi
  if [ "$all" = 0 ]; then
    say "== formatting and lints"
    cargo fmt --all --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check
    cargo clippy --workspace --all-targets --quiet -- -D warnings
  fi
  # nextest where it is installed (it is the quicker inner loop); the tests are the same.
  if command -v cargo-nextest >/dev/null; then
    # What a test says when it is skipped is in its output.
    cargo nextest run "${which[@]}" --no-fail-fast --success-output "$([ "$(id -u)" = 0 ] && echo never || echo immediate)" "$@"
  else
    # As many tests at a time in each of two programs as there are processors.
    RUST_TEST_THREADS=$(nproc) python3 scripts/run_tests.py "${programs[@]/#/--test=}" "$@"
  fi
  if [ "$all" = 0 ] && [ "$(id -u)" = 0 ]; then
    say "== many tasks of a backend that fails (scripts/load.sh has the whole of it)"
    TIMEOUTS="--connect-timeout 1 --idle-timeout 0.5 --request-timeout 1.5" scripts/load.sh --debug --tasks 100
  fi
  # The machines have no network; what pip installed for these tests serves them, too.
  [ "$all" != 0 ] || scripts/vm/environments.sh --are-ready
}

part() {
  local name=$1
  shift
  case $name in
    host) host "$@" ;;
    debian-*) scripts/roots/tests.sh "${name#debian-}" "$@" ;;
    6.12 | 6.1) scripts/vm/tests.sh "$name" "$@" ;;
    systemd) scripts/vm/systemd-tests.sh "$@" ;;
    lacking) scripts/vm/broken-hosts.sh "$@" ;;
    attacks)
      local filter filters=()
      for filter in "$@"; do filters+=(--only "$filter"); done
      scripts/vm/attacks.sh --prove "${filters[@]}" "${kernels[@]}"
      ;;
  esac
}

# Of cargo test's lines and of nextest's: how many passed, failed, and said that they were skipped.
count() {
  awk '
    { gsub(/\033\[[0-9;]*m/, "") }
    /^test result: / { passed += $4; failed += $6 }
    /^ *Summary \[/ { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) passed += $(i - 1); if ($i ~ /^failed/) failed += $(i - 1) } }
    /SKIPPED:/ { skipped++ }
    END { printf "%d passed, %d failed, %d skipped", passed, failed, skipped }' "$1"
}

# Names of the tests that failed, as cargo test and nextest list them; without any what was said last.
failed() {
  local names
  names=$(awk '
    { gsub(/\033\[[0-9;]*m/, "") }
    /^failures:$/ { listed = 1; next }
    /^test result: / { listed = 0 }
    listed && /^    [A-Za-z0-9_:]+$/ { print $1 }
    /^ *(FAIL|TIMEOUT|ABORT|SIG[A-Z]+) \[/ { print $(NF - 1), $NF }' "$1" | sort -u)
  [ -n "$names" ] || names=$(grep -v '^ *$' "$1" | tail -n 3 | cut -c 1-300)
  printf '%s\n' "$names"
}

# What a part is called.
shown() {
  case $1 in
    host) echo host ;;
    debian-*) echo "debian ${1#debian-}" ;;
    *) echo "vm $1" ;;
  esac
}

# logged NAME ARGS...: one part, whose output is shown and kept.
logged() { part "$@" 2>&1 | tee "$logs/$1"; }

# begin NAME ARGS...: one part beside this shell, and `finish NAME` waits for it and makes its line of the table. In a shell
# of its own, so that a command that fails ends this part and no other.
declare -A begun running
begin() {
  begun[$1]=$SECONDS
  start logged "$@"
  running[$1]=$started
}
finish() {
  local name=$1 result=0 word=passed
  wait "${running[$name]}" || result=$?
  [ $result = 0 ] || word=FAILED
  printf '%-12s %s  %s, %d s\n' "$(shown "$name")" "$word" "$(count "$logs/$name")" $((SECONDS - begun[$name])) >"$logs/$name.line"
  [ $result = 0 ] || failed "$logs/$name" | sed 's/^/  /' >>"$logs/$name.line"
}

for name in "${parts[@]}"; do
  if [ "$name" != host ] && [ "$(id -u)" != 0 ]; then
    [ ${#parts[@]} -gt 1 ] || die "the virtual machines must be started as root: sudo $0"
    printf '%-12s SKIPPED: needs root\n' "$(shown "$name")" >"$logs/$name.line"
    continue
  fi
  beside=
  case "$name ${parts[*]}" in
    # That one boots most of the time, and so does this one: one of them leaves a third of the processors idle.
    systemd*lacking*) beside=lacking ;;
    lacking*systemd*) continue ;;
    # These wait for clocks, and for pip, half of the time.
    debian-12*debian-13*) beside=debian-13 ;;
    debian-13*debian-12*) continue ;;
  esac
  say "== $(shown "$name")"
  [ -z "$beside" ] || begin "$beside" "$@" >"$logs/beside" 2>&1
  begin "$name" "$@"
  finish "$name"
  if [ -n "$beside" ]; then
    finish "$beside"
    say "== $(shown "$beside"), which ran beside it" && cat "$logs/beside"
  fi
done
say "== done"
cd "$logs"
cat "${parts[@]/%/.line}" | tee table
! grep -q FAILED table
