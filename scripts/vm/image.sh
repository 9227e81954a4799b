#!/usr/bin/env bash
# Makes the root of a Debian that systemd runs, as a directory; does nothing where it is there. Prints the directory.
#
# It is of this host's own release where this host is a Debian, so that what was built here finds its C library there.
# Elsewhere it is of Debian 12 or, where the host's C library is newer than that one's, of Debian 13. OSTEST_VM_SUITE names
# another release (bookworm, trixie). OSTEST_VM_MIRROR and OSTEST_VM_CACHE as in kernel.sh.
set -euo pipefail
. "$(dirname "$0")/paths.sh"

# What a grading server has. Beside systemd: logins that are sessions, what `check` asks for, and a Python for tests.
packages=(systemd systemd-sysv dbus libpam-systemd login passwd procps util-linux iproute2
  ca-certificates git make gcc libc6-dev python3 python3-venv)

# of_this_host: the release whose C library is this host's, or the next newer one.
of_this_host() {
  local id codename libc
  # shellcheck disable=SC1091
  read -r id codename <<<"$(. /etc/os-release && printf '%s %s' "$ID" "${VERSION_CODENAME:-}")"
  libc=$(getconf GNU_LIBC_VERSION | cut -d ' ' -f 2)
  if [ "$id" = debian ] && [ -n "$codename" ]; then
    echo "$codename"
  elif [ "$(printf '2.36\n%s\n' "$libc" | sort -V | tail -n 1)" = 2.36 ]; then
    echo bookworm
  else
    echo trixie
  fi
}

suite=${OSTEST_VM_SUITE:-$(of_this_host)}
# Whatever decides what is in it is in this script.
image=$cache/systemd-$suite-$(sha256sum <"$0" | cut -c 1-12)

need_root
one_at_a_time
if [ ! -d "$image" ]; then
  install_missing --no-install-recommends mmdebstrap >&2
  from=$(mirror)
  have_keyring
  say "Making a Debian ($suite) with systemd in $image; this takes a minute or two" >&2
  # What was begun and not finished; images that are done may be in use.
  rm -rf "$cache"/systemd-*.part
  printf -v list '%s,' "${packages[@]}"
  mmdebstrap --quiet --mode=root --variant=minbase --include="${list%,}" \
    --keyring="$keyring" "$suite" "$image.part" "deb $from $suite main" >&2 || die "the image could not be made; see above"
  # Every boot starts from the same: what a first boot would ask or make is settled here.
  echo ostest-vm >"$image.part/etc/hostname"
  : >"$image.part/etc/machine-id"
  rm -rf "$image.part"/var/cache/apt/* "$image.part"/var/lib/apt/lists/*
  mv "$image.part" "$image"
fi
printf '%s\n' "$image"
