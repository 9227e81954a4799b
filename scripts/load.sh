#!/usr/bin/env bash
# Lets the runner grade many tasks for a backend that fails, and looks whether it loses any or leaves anything behind.
#
#   sudo scripts/load.sh [--tasks 10000] [--fail 10] [--concurrent 2] [--seed 1] [--fail-by WAY,…] [--growth MIB] [--debug]
#       Every task has real sandboxes: a small submission out of a git repository, and a suite with one test. Of a hundred
#       answers of the backend --fail are spoilt, in the ways of `mock-backend --fail`, or in those of --fail-by only; the
#       same --seed spoils in the same order. Printed are what the runner and the host held at the start, in the middle and
#       at the end, and tasks per minute.
#       --debug takes the debug build, which tests have made anyhow.
#       The exit code is 1, with a sentence, if a task was lost or answered twice with different content, if a redirect was
#       followed, if the runner's memory has grown by more than --growth (16), or if there are more descriptors, control
#       groups, mounts, files or processes at the end than at the start.
#
# As root, because it makes sandboxes. TIMEOUTS holds the runner's flags on how long it waits for an answer; they are short,
# because each answer that does not come takes as long.
set -euo pipefail
. "$(dirname "$0")/common.sh"

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" && exit "$1"; }

tasks=10000 fail=10 concurrent=2 seed=1 ways= growth=16 build=release
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage 0 ;;
    --debug) build=debug && shift && continue ;;
    --tasks | --fail | --concurrent | --seed | --fail-by | --growth) [ $# -ge 2 ] || usage 2 >&2 ;;&
    --tasks) tasks=$2 ;;
    --fail) fail=$2 ;;
    --concurrent) concurrent=$2 ;;
    --seed) seed=$2 ;;
    --fail-by) ways=$2 ;;
    --growth) growth=$2 ;;
    *) usage 2 >&2 ;;
  esac
  shift 2
done
for number in "$tasks" "$fail" "$concurrent" "$seed" "$growth"; do
  [[ $number =~ ^[0-9]+$ ]] || die "$number is no whole number"
done
[ "$tasks" -gt 0 ] || die "--tasks must be 1 at least"
read -r -a timeouts <<<"${TIMEOUTS---connect-timeout 2 --idle-timeout 3 --request-timeout 6}"

need_root
find_cargo
cd "$top"
if [ "$build" = release ]; then
  cargo build --release --workspace --quiet
else
  cargo build --workspace --quiet
fi
bin=$top/target/$build/ostest-sandbox

place=$(mktemp -d)
backend= watch=
cleanup() {
  # The one that watches ends the runner, and with it its sandboxes.
  for pid in $watch $backend; do
    kill "$pid" 2>/dev/null || continue
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$place"
  give_back
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$place/git/submission" "$place/suite" "$place/state" "$top/target/tmp/load/cache"
# Making the suite's environment takes long, needs an index, and is not what is looked at.
ln -s "$top/target/tmp/load/cache" "$place/state/cache"
printf 'int main(void) { return 0; }\n' >"$place/git/submission/main.c"
git() { command git -c user.name=Student -c user.email=student@course.example -c init.defaultBranch=main "$@"; }
git -C "$place/git/submission" init -q
git -C "$place/git/submission" add -A
git -C "$place/git/submission" commit -q -m "My solution"
# The mirror is read by the sandbox's user, who is nobody here.
chmod -R a+rX "$place"
chmod 700 "$place/state"
cat >"$place/suite/test_one.py" <<'PYTHON'
import os

def test_one():
    assert os.path.exists(os.path.join(os.environ["OSTEST_PROJECT"], "main.c"))
PYTHON
cat >"$place/tasks.json" <<'JSON'
[
  {"attempt": 1, "repositoryUrl": "https://course.example/submission.git", "branch": "main"},
  {"status": "AVAILABLE", "id": "load", "repositoryUrl": "https://course.example/submission.git", "branch": "main"}
]
JSON
# Both dialects in turn: an odd number of tasks is one of the first dialect alone, so many times.
rounds=$((tasks / 2))
if [ $((tasks % 2)) = 1 ]; then
  sed -i '3d; 2s/,$//' "$place/tasks.json"
  rounds=$tasks
fi
printf 'load-secret\n' >"$place/password"
chmod 600 "$place/password"

: >"$place/results"
: >"$place/results"
"$bin" mock-backend --listen 127.0.0.1:0 --tasks "$place/tasks.json" --repeat "$rounds" --forget \
  --auth load:load-secret --fail "$fail" --seed "$seed" ${ways:+--fail-by "$ways"} \
  >"$place/results" 2>"$place/problems" &
backend=$!
url=
for _ in $(seq 100); do
  url=$(sed -n 's/^mock backend on \(http[^ ]*\).*/\1/p;q' "$place/results")
  [ -n "$url" ] && break
  kill -0 "$backend" 2>/dev/null || break
  sleep 0.1
done
[ -n "$url" ] || die "the mock backend did not start: $(cat "$place/problems")"

python3 "$top/scripts/load_watch.py" --backend "$url" --state "$place/state" --tasks "$tasks" --growth "$growth" \
  --log "$place/log" -- \
  "$bin" --backend-url "$url" --concurrent "$concurrent" --logger-level warning --logger-output "$place/log" \
  --auth --login load --password-file "$place/password" --tests "$place/suite" --state-dir "$place/state" \
  --git-mirror "https://course.example/=$place/git" --check-interval 1 "${timeouts[@]}" &
watch=$!
code=0
wait "$watch" || code=$?
watch=
exit "$code"
