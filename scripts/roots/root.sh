#!/usr/bin/env bash
# Makes the root of a Debian as somebody has it who has just installed it, with git and sudo, and beside these only what
# scripts/selftest.sh would install; does nothing where it is there. Prints the directory.
#
#   scripts/roots/root.sh 12|13 [--bare]
#
# --bare: without what the scripts install, to see them install it. OSTEST_VM_MIRROR and OSTEST_VM_CACHE as in
# scripts/vm/kernel.sh.
set -euo pipefail
. "$(dirname "$0")/../vm/paths.sh"

case ${1:-} in
  12) suite=bookworm python=3.11 ;;
  13) suite=trixie python=3.13 ;;
  *) die "say which Debian: 12 or 13" ;;
esac
packages=(git sudo ca-certificates)
[ "${2:-}" = --bare ] || packages+=("${test_packages[@]}" "libpython$python-testsuite")
# Whatever decides what is in it is here.
image=$cache/debian-$1-$({ cat "$0" && printf '%s ' "${packages[@]}"; } | sha256sum | cut -c 1-12)

need_root
one_at_a_time
if [ ! -d "$image" ]; then
  install_missing --no-install-recommends mmdebstrap >&2
  from=$(mirror)
  have_keyring
  say "Making a Debian $1 in $image; this takes a minute or two" >&2
  # What was begun and not finished; images that are done may be in use.
  rm -rf "$cache"/debian-*.part
  printf -v list '%s,' "${packages[@]}"
  mmdebstrap --quiet --mode=root --variant=minbase --include="${list%,}" \
    --keyring="$keyring" "$suite" "$image.part" "deb $from $suite main" >&2 || die "Debian $1 could not be made; see above"
  rm -rf "$image.part"/var/cache/apt/*
  mv "$image.part" "$image"
fi
printf '%s\n' "$image"
