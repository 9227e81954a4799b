# Shared by the scripts beside it; sourced, not run. Needs bash.
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

# Outside the tree: a kernel outlives a `git clean`, and serves every checkout.
cache=${OSTEST_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ostest-sandbox-vm}
