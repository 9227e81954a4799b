# Shared by the scripts beside it; sourced, not run. Needs bash.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Everything here makes sandboxes, which takes root.
need_root() { [ "$(id -u)" = 0 ] || die "it must run as root: sudo $0"; }

# sudo replaces PATH and HOME: find the cargo of the person who called it.
find_cargo() {
  local home
  if [ -n "${SUDO_USER:-}" ]; then
    home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
    if [ -x "$home/.cargo/bin/cargo" ]; then
      export PATH="$home/.cargo/bin:$PATH" CARGO_HOME="${CARGO_HOME:-$home/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
    fi
  fi
  command -v cargo >/dev/null || die "cargo is missing: install Rust 1.89 or newer (https://rustup.rs)"
}

# What root has left in the clone, or among cargo's and rustup's files, becomes its owner's again. A directory that is root's
# own stays so.
give_back() {
  [ -n "${SUDO_UID:-}" ] && [ "$SUDO_UID" != 0 ] || return 0
  local dir
  for dir in "$top" "${CARGO_TARGET_DIR:-$top/target}" "${CARGO_HOME:-}" "${RUSTUP_HOME:-}"; do
    [ -n "$dir" ] && [ "$(stat -Lc %u "$dir" 2>/dev/null)" = "$SUDO_UID" ] || continue
    find "$dir/" -user 0 -exec chown -h "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" {} + 2>/dev/null || true
  done
}

# as_caller COMMAND...: as the person who called sudo, if the clone is theirs: then nothing of root's comes into it, however
# the command ends.
as_caller() {
  if [ -z "${SUDO_UID:-}" ] || [ "$SUDO_UID" = 0 ] || [ "$(stat -c %u "$top")" != "$SUDO_UID" ]; then
    "$@"
    return
  fi
  give_back
  setpriv --reuid "$SUDO_UID" --regid "${SUDO_GID:-$SUDO_UID}" --init-groups \
    env HOME="$(getent passwd "$SUDO_UID" | cut -d: -f6)" "$@"
}

# start COMMAND...: beside this shell, in a process group of its own, so that all that it starts can be ended at once; its
# number is in `started`.
groups=()
start() {
  set -m
  "$@" </dev/null &
  started=$!
  set +m
  groups+=("$started")
}

# run COMMAND...: the same, and waits for it. A shell that waits for a command in its own group hears of no signal before that
# has ended.
run() {
  start "$@"
  wait "$started"
}

# Ends every group that was started: as Ctrl-C does, then as `kill` does (a runner lets tasks end at the first signal, and does
# not at the second), then for good.
end_groups() {
  local signal tries group left
  for signal in INT TERM KILL; do
    tries=0
    while left=() && [ $tries -lt 50 ]; do
      for group in "${groups[@]}"; do
        kill -0 -- "-$group" 2>/dev/null || continue
        left+=("$group")
        [ $tries -gt 0 ] || kill -s $signal -- "-$group" 2>/dev/null || true
      done
      [ ${#left[@]} -gt 0 ] || return 0
      tries=$((tries + 1))
      [ $signal$tries != INT10 ] || break
      sleep 0.1
    done
  done
}

# on_end COMMAND...: what is done when this script ends, on Ctrl-C and SIGTERM, too, which end all that was started.
on_end() {
  # shellcheck disable=SC2064 # as it is now
  trap "trap '' INT TERM HUP; $*" EXIT
  local signal
  for signal in INT:130 TERM:143 HUP:129; do
    # shellcheck disable=SC2064
    trap "trap '' INT TERM HUP; say; say '== interrupted: ending everything' >&2; end_groups; exit ${signal#*:}" "${signal%:*}"
  done
}

# What the tests of this project need on a Debian, beside a Rust toolchain.
test_packages=(build-essential git python3 python3-venv gdb valgrind strace openssl logrotate)

# install_missing [OPTION] PACKAGE... : says what is missing before it installs it; the option is one of apt-get's.
install_missing() {
  local package missing=() options=()
  for package in "$@"; do
    case $package in
      -*) options+=("$package") && continue ;;
    esac
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  command -v apt-get >/dev/null || die "these Debian packages, or your system's equivalents, are missing: ${missing[*]}"
  say "Installing what is missing with apt-get: ${missing[*]}"
  options+=(-y -qq)
  DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "${missing[@]}" >/dev/null 2>&1 ||
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "${missing[@]}" >/dev/null; } ||
    die "apt-get could not install ${missing[*]}"
}
