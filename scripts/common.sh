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

# What root has built or downloaded stays usable for the person who called sudo.
give_back() {
  [ -n "${SUDO_UID:-}" ] || return 0
  chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$top/target" "${CARGO_HOME:-$HOME/.cargo}/registry" 2>/dev/null || true
}

# What the tests of this project need on a Debian, beside a Rust toolchain.
test_packages=(build-essential git python3 python3-venv gdb valgrind strace openssl)

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
