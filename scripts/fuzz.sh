#!/usr/bin/env bash
# Fuzzes the parsers that meet hostile bytes, and says what it found.
#
#   scripts/fuzz.sh [--minutes N] [--jobs N] [TARGET...]
#                       each target for so long (10 minutes), so many at a time (as many as there are cores)
#   scripts/fuzz.sh --check [TARGET...]
#                       builds them and runs the seeds alone: about a minute after the first build
#   scripts/fuzz.sh --list
#                       the targets
#
# It needs a nightly compiler (rustup toolchain install nightly) and a C++ compiler; cargo-fuzz it installs itself, into
# target/. The targets are in fuzz/fuzz_targets, what they assert in fuzz/properties, where they start from in fuzz/seeds. What
# is found on the way is kept in fuzz/corpus, so that the next run goes on from there, and what breaks a property in
# fuzz/artifacts. The exit code is 0 without a finding, 1 with one, 2 where it could not be tried. See docs/security.md.
set -euo pipefail
. "$(dirname "$0")/common.sh"

fuzz=$top/fuzz minutes=10 jobs=$(nproc) check='' targets=()
# What takes longer, or more memory, is a finding too: inputs are small, and none needs a tenth of it.
bounds=(-timeout=20 -rss_limit_mb=2048 -max_len=65536)

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" && exit "$1"; }
unfit() { printf 'fuzz.sh: %s\n' "$*" >&2 && exit 2; }
all_targets() { find "$fuzz/fuzz_targets" -name '*.rs' -printf '%f\n' | sed 's/\.rs$//' | sort; }
is_number() { [[ $1 =~ ^[1-9][0-9]*$ ]] || unfit "$2 takes a whole number, at least 1"; }

while [ $# -gt 0 ]; do
  case $1 in
    --minutes) is_number "${2:-}" "$1" && minutes=$2 && shift 2 ;;
    --jobs) is_number "${2:-}" "$1" && jobs=$2 && shift 2 ;;
    --check) check=1 && shift ;;
    --list) all_targets && exit ;;
    --help | -h) usage 0 ;;
    -*) usage 2 >&2 ;;
    *)
      [ -f "$fuzz/fuzz_targets/$1.rs" ] || unfit "there is no target $1; there are: $(all_targets | xargs)"
      targets+=("$1") && shift
      ;;
  esac
done
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(all_targets)

find_cargo
cargo +nightly --version >/dev/null 2>&1 || unfit "a nightly compiler is missing: rustup toolchain install nightly"
export PATH="$top/target/cargo-fuzz/bin:$PATH"
command -v cargo-fuzz >/dev/null || {
  say "== installing cargo-fuzz into target/"
  cargo install --quiet --locked --root "$top/target/cargo-fuzz" cargo-fuzz || unfit "cargo-fuzz could not be installed"
}

logs=$(mktemp -d)
running=()
stop() {
  [ ${#running[@]} = 0 ] || kill "${running[@]}" 2>/dev/null || true
  rm -rf "$logs"
  give_back
}
trap stop EXIT
trap 'exit 130' INT TERM

say "== building"
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
(cd "$top" && cargo +nightly fuzz build) || unfit "the targets could not be built"
programs=$fuzz/target/$host/release

# One target, in a process of its own. Its log is read afterwards.
run() {
  local name=$1 dictionary=$fuzz/dictionaries/$1.dict options=("${bounds[@]}")
  mkdir -p "$fuzz/corpus/$name" "$fuzz/artifacts/$name"
  [ ! -f "$dictionary" ] || options+=("-dict=$dictionary")
  options+=("-artifact_prefix=$fuzz/artifacts/$name/" -print_final_stats=1)
  if [ -n "$check" ]; then
    exec "$programs/$name" "${options[@]}" -runs=0 "$fuzz/seeds/$name"
  fi
  # What is new goes into the first folder: the seeds stay as they are.
  exec "$programs/$name" "${options[@]}" "-max_total_time=$((minutes * 60))" "$fuzz/corpus/$name" "$fuzz/seeds/$name"
}

# Of libFuzzer's log: runs, edges covered, inputs in the corpus.
figure() { sed -n "s/^stat::number_of_executed_units: *//p" "$logs/$1.log" | tail -1; }
last() { grep -oE "\b$2: [0-9]+" "$logs/$1.log" | tail -1 | grep -oE '[0-9]+' || true; }
first() { grep -oE '\bINITED .*\bcov: [0-9]+|^#[0-9]+\s+INITED cov: [0-9]+' "$logs/$1.log" | grep -oE '[0-9]+$' | head -1 || true; }

report() {
  local name=$1 code=$2 seconds=$3 input words=none
  if [ "$code" != 0 ]; then
    bad=1
    input=$(sed -n 's/^.*Test unit written to //p' "$logs/$name.log" | tail -1)
    words=FOUND
    findings+=("$name ${input:--}")
  fi
  printf '%-8s %12s %8s %8s %8s %8s  %s\n' "$name" "$(figure "$name" | grep . || echo -)" "$seconds" "$(first "$name" | grep . || echo -)" \
    "$(last "$name" cov | grep . || echo -)" "$(last "$name" corp | grep . || echo -)" "$words" >>"$logs/table"
}

bad=0 findings=()
say "== ${#targets[@]} targets, $([ -n "$check" ] && echo "their seeds" || echo "$minutes min each"), $jobs at a time"
printf '%-8s %12s %8s %8s %8s %8s  %s\n' TARGET RUNS SECONDS 'EDGES AT' NOW CORPUS FINDINGS >"$logs/table"
declare -A names begun
for name in "${targets[@]}"; do
  while [ ${#running[@]} -ge "$jobs" ]; do
    code=0
    wait -n -p done "${running[@]}" || code=$?
    report "${names[$done]}" "$code" $((SECONDS - begun[$done]))
    for index in "${!running[@]}"; do [ "${running[$index]}" != "$done" ] || unset "running[$index]"; done
  done
  run "$name" >"$logs/$name.log" 2>&1 &
  running+=($!) names[$!]=$name begun[$!]=$SECONDS
done
while [ ${#running[@]} -gt 0 ]; do
  code=0
  wait -n -p done "${running[@]}" || code=$?
  report "${names[$done]}" "$code" $((SECONDS - begun[$done]))
  for index in "${!running[@]}"; do [ "${running[$index]}" != "$done" ] || unset "running[$index]"; done
done

cat "$logs/table"
for finding in "${findings[@]}"; do
  read -r name input <<<"$finding"
  say "" "== $name"
  grep -E -A6 "panicked at|ERROR: |SUMMARY: " "$logs/$name.log" | head -30 || tail -20 "$logs/$name.log"
  [ "$input" = - ] || cat <<TEXT
The input:               $input
To see it again:         $programs/$name $input
To make it smaller:      (cd $top && cargo +nightly fuzz tmin $name $input)
To make a test of it:    cp $input $fuzz/seeds/$name/WHAT-IT-IS
                         cargo test -p properties      # fails until it is mended
TEXT
done
exit $bad
