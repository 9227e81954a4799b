#!/usr/bin/env bash
# Makes the root of a Debian that systemd runs, as a directory; does nothing where it is there. Prints the directory.
#
# It is of this host's own release where this host is a Debian, so that what was built here finds its C library there, and
# of Debian 12 otherwise. OSTEST_VM_MIRROR and OSTEST_VM_CACHE as in kernel.sh.
set -euo pipefail
. "$(dirname "$0")/paths.sh"

# What a grading server has. Beside systemd: logins that are sessions, what `check` asks for, and a Python for tests.
packages=(systemd systemd-sysv dbus libpam-systemd login passwd procps
  ca-certificates git make gcc libc6-dev python3 python3-venv)

suite=bookworm
# shellcheck disable=SC1091
release=$(. /etc/os-release && printf '%s %s' "$ID" "${VERSION_CODENAME:-}")
case $release in
  "debian "?*) suite=${release#debian } ;;
esac
key=$(printf '%s\n' "$suite" "${packages[@]}" | sha256sum | cut -c 1-12)
image=$cache/systemd-$suite-$key

need_root
one_at_a_time
if [ ! -d "$image" ]; then
  install_missing --no-install-recommends mmdebstrap >&2
  from=$(mirror)
  have_keyring
  say "Making a Debian ($suite) with systemd in $image; this takes a minute or two" >&2
  rm -rf "$cache"/systemd-*
  printf -v list '%s,' "${packages[@]}"
  mmdebstrap --quiet --mode=root --variant=minbase --include="${list%,}" --keyring="$keyring" "$suite" "$image.part" \
    "deb $from $suite main" >&2 || die "the image could not be made; see above"
  # One boots it at a time, and each boot starts from the same: what a first boot would ask or make is settled here.
  echo ostest-vm >"$image.part/etc/hostname"
  : >"$image.part/etc/machine-id"
  rm -rf "$image.part"/var/cache/apt/* "$image.part"/var/lib/apt/lists/*
  mv "$image.part" "$image"
fi
printf '%s\n' "$image"
