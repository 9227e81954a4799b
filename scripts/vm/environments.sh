#!/usr/bin/env bash
# Has what the tests of grading install with pip installed on this host, below target/tmp: the test machines, which have
# no network, read it there. The tests themselves do that, so they are run; but not again while they are what they were.
#
#   scripts/vm/environments.sh              sees to it
#   scripts/vm/environments.sh --are-ready  for the caller that has just run them all
set -euo pipefail
. "$(dirname "$0")/paths.sh"

find_cargo
cd "$top"
mark=$top/target/tmp/environments-are-ready
# Whatever says which packages are wanted.
sources=(tests examples/course src/task/prepare)
if [ "${1:-}" = --are-ready ]; then
  touch "$mark"
elif [ ! -e "$mark" ] || [ -n "$(find "${sources[@]}" -newer "$mark" -type f -print -quit)" ]; then
  say "== running the tests of grading on this host first: they fill the cache of Python environments"
  log=$(mktemp)
  # Not among the lines of the tests in the machine, unless something is wrong.
  cargo test --quiet --no-fail-fast --test course --test grade --test harness --test runner >"$log" 2>&1 ||
    { cat "$log" && rm "$log" && die "they failed"; }
  rm "$log"
  touch "$mark"
fi
