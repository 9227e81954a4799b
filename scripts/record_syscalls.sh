#!/usr/bin/env bash
# Records which program needs which system call, stage by stage, and writes policies/seen/STAGE.txt. Tests hold the policies against
# these files: what was seen is allowed, or refused for a reason, and what is allowed was seen, or says who else needs it.
#
#   sudo scripts/record_syscalls.sh                 everything anew
#   sudo scripts/record_syscalls.sh STAGE...        fetch, build, test or sandbox only; `sandbox` is the harness and pid 1 in
#                                                   real sandboxes, and adds to test.txt, after test
#   sudo scripts/record_syscalls.sh --add STAGE...  what other versions of the programs need as well: what was seen before stays
#
# What runs is in scripts/record/. It installs the Debian packages that are missing, about 1 GB. As root for that and for the
# sandboxes; the workloads run as nobody. Nothing needs a network, once the packages are there. Takes a few minutes.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" && exit "$1"; }

add=
[ "${1:-}" != --add ] || { add=yes && shift; }
stages=("$@")
[ $# -gt 0 ] || stages=(fetch build test sandbox)
for stage in "${stages[@]}"; do
  case $stage in
    fetch | build | test | sandbox) ;;
    --help | -h) usage 0 ;;
    *) usage 2 >&2 ;;
  esac
done

need_root
install_missing autoconf automake bison build-essential ccache clang cmake file flex gdb git iproute2 libssl-dev lld ltrace meson \
  musl-tools ninja-build openssl pkg-config procps python3 python3-pexpect python3-psutil python3-pytest python3-pytest-xdist \
  python3-venv strace valgrind zlib1g-dev
install_missing "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
find_cargo
cd "$top"
python=/usr/bin/python3
recorder=$top/scripts/record/recorder.py

place=$(mktemp -d)
servers=()
finish() {
  [ ${#servers[@]} = 0 ] || kill "${servers[@]}" 2>/dev/null || true
  rm -rf "$place"
}
trap finish EXIT
# Everything that nobody has to see is in here: the checkout may lie where nobody may look.
tmp=$place/tmp home=$place/home
mkdir "$tmp" "$home"
cp -r scripts/record/labs "$place/labs"
chmod -R go=u-w "$place"
chmod 1777 "$tmp" "$home"

version() { dpkg-query -W -f='${Version}' "$1" | sed 's/^[0-9]*://; s/[-+~].*//'; }
header() {
  printf 'System calls that were seen in the %s stage, and the programs that made them. Made by scripts/record_syscalls.sh:\n' "$1"
  printf 'do not edit. Linux %s on %s, Debian %s, glibc %s, musl %s,\n' "$(uname -r | cut -d. -f1,2)" "$(uname -m)" \
    "$(cat /etc/debian_version)" "$(version libc6)" "$(version musl)"
  printf 'gcc %s, clang %s, make %s, git %s, Python %s, pytest %s, gdb %s, valgrind %s.' "$(version gcc)" "$(version clang)" \
    "$(version make)" "$(version git)" "$(version python3)" "$(version python3-pytest)" "$(version gdb)" "$(version valgrind)"
}

# write STAGE NOTES
write() {
  local file=policies/seen/$1.txt sources=("$2")
  mkdir -p policies/seen
  if [ -n "$add" ] && [ -f "$file" ]; then sources+=("$file"); fi
  "$python" scripts/record/seen.py "$file.new" "$(header "$1")" "${sources[@]}"
  mv "$file.new" "$file"
  say "$file: $(grep -vc '^#' "$file") lines"
}

# start_server COMMAND... : it prints its port first. The servers are not watched: only what a stage runs is.
start_server() {
  "$@" >"$place/port" 2>"$place/server.log" &
  servers+=($!)
  for _ in $(seq 100); do
    [ -s "$place/port" ] && port=$(head -n 1 "$place/port") && rm "$place/port" && return
    sleep 0.1
  done
  die "a server did not start: $(cat "$place/server.log")"
}

prepare_fetch() {
  local repositories=$place/git quiet=(-c user.name=n -c user.email=e)
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext 'subjectAltName=DNS:localhost' \
    -keyout "$place/key" -out "$place/certificate" 2>/dev/null
  mkdir -p "$repositories" "$place/simple"
  git init --quiet "$place/large"
  for i in $(seq 600); do seq "$i" 300 >"$place/large/file-$i"; done
  git -C "$place/large" add . && git -C "$place/large" "${quiet[@]}" commit --quiet -m files
  "$python" scripts/record/packages.py "$place/simple" "$place/package"
  git init --quiet "$place/package" && git -C "$place/package" add . && git -C "$place/package" "${quiet[@]}" commit --quiet -m package
  for name in large package; do
    git clone --quiet --bare "$place/$name" "$repositories/$name.git"
    git -C "$repositories/$name.git" config http.receivepack false
  done
  # git serves and clones what belongs to whoever asks.
  chown -R nobody "$repositories"
  chmod -R go=u-w "$repositories" "$place/simple" "$place/certificate"
  HOME=$home git config --global --add safe.directory '*'
  start_server env HOME="$home" "$python" tests/support/git_over_https.py "$repositories" "$place/certificate" "$place/key"
  git_url=https://localhost:$port
  start_server "$python" scripts/record/index.py "$place" "$place/certificate" "$place/key"
  index_url=https://localhost:$port
}

# watched STAGE VARIABLE=VALUE... : the stage's workloads under the recorder, in a directory of their own.
watched() {
  local stage=$1 work=$place/work-$1
  shift
  mkdir "$work" && chown nobody "$work" && cp "scripts/record/$stage.sh" "$place/"
  say "== $stage"
  # Nothing of this shell's surroundings: its proxies and certificates are not the workload's.
  (cd "$work" && env -i PATH="$PATH" HOME="$home" TMPDIR="$tmp" LC_ALL=C.UTF-8 "$@" place="$work" \
    "$python" "$recorder" "$stage" "$place/$stage.notes" -- bash -euo pipefail "$place/$stage.sh") >"$place/$stage.log" 2>&1 || die "the workloads of $stage failed: $(tail -c 3000 "$place/$stage.log")"
  write "$stage" "$place/$stage.notes"
}

# The harness and pid 1, where they run.
sandboxes() {
  say "== sandbox"
  cargo build --workspace --quiet
  local project name run=(target/debug/ostest-sandbox)
  mkdir -p "$place/submissions"
  examples/make-submissions.sh "$place/submissions" >/dev/null
  # Some tests of each kind: with all of them the suite's time is over before it is done, for a recorder makes everything slower.
  # The first is not watched: it makes the environment.
  "${run[@]}" grade "$place/submissions/good" --tests examples/course --lab 1 --state-dir "$place/state" >"$place/first.log" || [ $? = 1 ] ||
    die "the example cannot be graded: $(tail -c 3000 "$place/first.log")"
  for name in good failing crashing; do
    project=$place/submissions/$name
    "$python" "$recorder" test "$place/notes" --sandbox -- "${run[@]}" grade "$project" --tests examples/course --lab 2 \
      --test test_counts_each_file --test test_zombies_are_reaped --test test_interrupt_key_ends_kvd --test test_missing_file_is_reported \
      --state-dir "$place/state" >"$place/$name.log" 2>&1 || [ $? = 1 ] || die "$name could not be graded: $(tail -c 3000 "$place/$name.log")"
  done
  "$python" "$recorder" test "$place/notes" --sandbox -- "${run[@]}" exec --state-dir "$place/state" -- sh -c 'sleep 0.1 & kill $$' \
    >"$place/exec.log" 2>&1 || [ $? = 143 ] || die "exec failed: $(cat "$place/exec.log")"
  write init "$place/notes.init"
  local add=yes
  write test "$place/notes.test"
}

for stage in "${stages[@]}"; do
  case $stage in
    fetch)
      prepare_fetch
      watched fetch git_url="$git_url" index_url="$index_url" certificate="$place/certificate" repositories="$place/git"
      ;;
    build) watched build ;;
    test) watched test labs="$place/labs" ;;
    sandbox) sandboxes ;;
  esac
done
