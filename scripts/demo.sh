#!/usr/bin/env bash
# Builds the project, starts the mock backend with the example course, and grades all its submissions: one that is
# good, and others that fail, do not compile, eat memory, hang, flood, crash and fork without end.
set -euo pipefail
. "$(dirname "$0")/common.sh"

need_root
find_cargo
say "== 1. What is needed"
install_missing build-essential git python3 python3-venv
say "== 2. Building (the first time takes some minutes)"
cd "$top"
dir=$(mktemp -d)
cleanup() {
  end_groups
  rm -rf "$dir"
  give_back
}
on_end cleanup
run as_caller cargo build --release
bin=${CARGO_TARGET_DIR:-$top/target}/release/ostest-sandbox

say "== 3. Is this host fit? (the suite's Python environment is built first)"
run "$bin" check --state-dir "$dir/state" --tests "$top/examples/course" || [ $? = 1 ] || die "this host is not fit; see above"

say "== 4. The example course's submissions, as git repositories"
run "$top/examples/make-submissions.sh" "$dir/submissions" >/dev/null
ls "$dir/submissions"

say "== 5. Grading all of them (a minute or two)"
# There before anybody looks into it: on a busy host the backend is not so quick.
: >"$dir/results"
start "$bin" mock-backend --listen 127.0.0.1:0 --tasks "$top/examples/tasks.json" --once --json >"$dir/results" 2>"$dir/problems"
backend=$started
for _ in $(seq 100); do
  url=$(sed -n 's/^mock backend on \(http[^ ]*\).*/\1/p' "$dir/results")
  [ -n "$url" ] && break
  sleep 0.1
done
[ -n "$url" ] || die "the mock backend did not start: $(cat "$dir/results" "$dir/problems")"
run "$bin" --backend-url "$url" --once --concurrent 2 --logger-level warning \
  --tests "$top/examples/course" --git-mirror "https://course.example/submissions/=$dir/submissions" \
  --allow-url https://course.example/ --state-dir "$dir/state" \
  --mem-limit 256M --pids-limit 128 --timeout 600
wait "$backend"

say
say "== Results"
python3 "$top/scripts/demo_table.py" "$dir/results" "$top/examples/tasks.json" "$top/examples/expected.json"
