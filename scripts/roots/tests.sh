#!/usr/bin/env bash
# Has a new user of a fresh Debian run the tests that grade, by sudo, as the README says (run.sh). They are built here, and not
# again there.
#
#   scripts/roots/tests.sh 12|13 [FILTER...]
#
# Without filters these run: what needs the distribution's own git, Python, pip, gcc, make and sudo. Left out are those to
# which only the kernel matters, which is the host's (control groups, filters, what is charged to nobody, attacks),
# those that kill the runner or have a backend fail for minutes on end (crash, spool), those that damage environments, which take
# minutes of pip (that one is built by the distribution's own pip and venv is in all that grade), unit tests and parsers, and
# CPython's own tests, of which tests/harness/starts.py has the parts that differ between versions. With filters all of them run
# that match.
set -euo pipefail
. "$(dirname "$0")/../vm/paths.sh"

debian=$1
shift
need_root
find_cargo
cd "$top"
programs=battery,check,course,exec_ends,exec_isolation,exec_limits,git,grade,grade_memory,harness,leaves,proxy,runner,service,words
[ $# = 0 ] || programs=
cargo test --workspace --no-run --quiet
# Of sudo's environment only what says where cargo's files are, which a new user has at home.
# shellcheck disable=SC2016 # expanded there
exec "$(dirname "$0")/run.sh" "$debian" bash -c \
  'exec sudo CARGO_HOME="$CARGO_HOME" RUSTUP_HOME="$RUSTUP_HOME" scripts/selftest.sh "$@"' user \
  "--host${programs:+=$programs}" "$@"
