#!/usr/bin/env bash
# Runs a command as a new user of a fresh Debian would: in a root of its own (root.sh), with this checkout, what was built
# in it, and the toolchain of whoever calls this; as a user who has sudo, in a home that nobody else may enter. Kernel and
# network are this host's. Nothing that is changed there is seen here, and nothing is left of it.
#
#   scripts/roots/run.sh 12|13 [--bare] COMMAND [ARGUMENT...]
set -euo pipefail
. "$(dirname "$0")/../vm/paths.sh"

need_root
find_cargo
debian=$1
bare=()
shift
[ "${1:-}" != --bare ] || { bare=(--bare) && shift; }
root=$("$(dirname "$0")/root.sh" "$debian" "${bare[@]}" | tail -n 1)

# How pip gets its packages is the host's to say, in files and in the environment; in the root there is one file. It is asked
# here, where there is a pip; without one there is nothing to say.
pip=$(python3 -m pip config list 2>/dev/null | sed -n "s/^[^.]*\.\([^=]*\)='\(.*\)'\$/\1 = \2/p" | sort -u -t = -k 1,1 || true)

target=${CARGO_TARGET_DIR:-$top/target}
# A place to mount it at, which stays empty here; and one for what tests keep, Python's environments above all.
mkdir -p "$cache/root" "$target/tmp/debian-$debian"
# A namespace of processes, so that they all end with this one, however it ends.
exec unshare --mount --propagation private --pid --fork --kill-child --uts --ipc \
  bash "$(dirname "$0")/enter.sh" "$cache/root" "$root" "$top" "$target" "$target/tmp/debian-$debian" \
  "${CARGO_HOME:-$HOME/.cargo}" "${RUSTUP_HOME:-$HOME/.rustup}" "$pip" "$@"
