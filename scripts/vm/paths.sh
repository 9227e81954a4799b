# Shared by the scripts beside it; sourced, not run. Needs bash.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

# Outside the tree: a kernel outlives a `git clean`, and serves every checkout.
cache=${OSTEST_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ostest-sandbox-vm}

# Debian's keys, with which whatever comes from a mirror is checked.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
have_keyring() { [ -e "$keyring" ] || install_missing debian-archive-keyring >&2; }

# A mirror of Debian that this host already uses, so that its proxies and network rules apply as they are.
mirror() {
  local found=${OSTEST_VM_MIRROR:-}
  # shellcheck disable=SC2016 # apt's own placeholders
  [ -n "$found" ] || found=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
    sed -n 's/^Debian|Debian|//p' | sort -u | head -n 1)
  [ -n "$found" ] || die "the host's apt sources name no Debian mirror: set OSTEST_VM_MIRROR to the URL of one"
  printf '%s\n' "$found"
}

# Two that start at once must not make the same file; the second finds it made.
one_at_a_time() {
  mkdir -p "$cache"
  exec {cache_lock}>"$cache/lock"
  flock "$cache_lock"
}
