#!/usr/bin/env bash
# Measures what grading costs, and prints ratios: figures of one run alone mean little on another machine.
#
#   sudo scripts/bench.sh cost [--project DIR --tests DIR [--lab N]] [--runs 10]
#       How much longer a suite takes in the sandbox than outside, with the same interpreter and packages, in turns. The
#       whole of `grade` counts, from its start to its end, without fetch and prepare: a directory is copied, and the
#       environment is there. Without directories: examples/course and its good submission.
#   sudo scripts/bench.sh many [--count 5000]
#       The time for each test of the first and of the last 500 of many tests that start a program, and how many control
#       groups the kernel kept meanwhile.
#   sudo scripts/bench.sh calls [--runs 10]
#       What calls cost inside and outside, in turns: locks, setxattr, files, pipes, TCP, memory, fork and exec, and inserts of
#       sqlite; and what of it is the ledger's.
#
# As root, because it makes sandboxes. What runs outside runs as root, too: the suite has to be one that you trust.
set -euo pipefail
. "$(dirname "$0")/common.sh"

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" && exit "$1"; }

what=${1:---help}
shift || true
project=$top/examples/submissions/good tests=$top/examples/course lab=2 runs=10 count=5000
while [ $# -gt 0 ]; do
  case $1 in
    --project) project=$2 ;;
    --tests) tests=$2 lab= ;;
    --lab) lab=$2 ;;
    --runs) runs=$2 ;;
    --count) count=$2 ;;
    *) usage 2 >&2 ;;
  esac
  shift 2
done
case $what in
  cost | many | calls) ;;
  --help | -h) usage 0 ;;
  *) usage 2 >&2 ;;
esac

need_root
find_cargo
cd "$top"
cargo build --release --workspace --quiet
place=$(mktemp -d)
trap 'rm -rf "$place"; give_back' EXIT
state=$top/target/tmp/bench
mkdir -p "$state"
grade() { target/release/ostest-sandbox grade --state-dir "$state" "$@"; }

cost() {
  # Makes the environment, in the first run, and warms all that can be warm.
  grade "$project" --tests "$tests" ${lab:+--lab "$lab"} --json "$place/first.json" >"$place/first.txt" || [ $? = 1 ] ||
    die "the submission could not be graded: $(cat "$place/first.txt")"
  python3 - "$project" "$tests" "$lab" "$runs" "$state" "$place" <<'PYTHON'
import glob, json, os, shutil, statistics, subprocess, sys, time

project, tests, lab, runs, state, place = sys.argv[1:]
requirements = os.path.join(tests, "requirements.txt")
wanted = open(requirements).read() if os.path.exists(requirements) else "pytest\n"
# The environment that `grade` has just used: the one made of these requirements.
venvs = [v for v in glob.glob(state + "/cache/venv-*/") if any(open(f).read() == wanted for f in glob.glob(v + "*.txt"))]
venv = max(venvs, key=os.path.getmtime)

def outside():
    work = os.path.join(place, "work")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(project, work + "/project", symlinks=True)
    shutil.copytree(tests, work + "/suite", symlinks=True, ignore=shutil.ignore_patterns(".git"))
    env = dict(os.environ, OSTEST_PROJECT=work + "/project", OSTEST_LAB=lab, OSTEST_PROXY_TIMEOUT="2", OSTEST_ATTEMPT="bench",
               PATH=venv + "bin:" + os.environ["PATH"], PYTHONDONTWRITEBYTECODE="1", HOME=place, PYTHONPYCACHEPREFIX=venv + "pycache")
    suite = work + "/suite"
    start = time.perf_counter()
    if os.path.exists(suite + "/ostest.toml") and "[build]" in open(suite + "/ostest.toml").read():
        subprocess.run(["make"], cwd=work + "/project", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if os.path.exists(suite + "/run_tests.py"):
        command = ["run_tests.py", "--src", work + "/project", *(["--lab", lab] if lab else []), "--proxy_timeout", "2"]
    else:
        command = ["-m", "pytest"]
    command = [venv + "bin/python", *command, "--junit-xml=" + place + "/report.xml", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=suite, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    took = time.perf_counter() - start
    if not os.path.exists(place + "/report.xml"):
        sys.exit("outside the suite does not run: %s" % done.stdout.decode()[-2000:])
    return took

def inside():
    start = time.perf_counter()
    command = ["target/release/ostest-sandbox", "grade", "--state-dir", state, project, "--tests", tests, "--proxy-timeout", "2"]
    done = subprocess.run(command + (["--lab", lab] if lab else []) + ["--json", place + "/result.json"], stdout=subprocess.DEVNULL)
    took = time.perf_counter() - start
    if done.returncode not in (0, 1):
        sys.exit("inside the suite does not run: exit code %d" % done.returncode)
    return took, float(json.load(open(place + "/result.json"))["testResults"]["duration"])

outside(), inside()
out, whole, stage = [], [], []
for number in range(int(runs)):
    # In turns, and in changing order: what else the machine does hits both.
    if number % 2:
        out.append(outside())
    took, suite = inside()
    whole.append(took), stage.append(suite)
    if not number % 2:
        out.append(outside())
base = statistics.median(out)
print("%-34s %8s %8s %8s %8s" % ("seconds, of %d runs in turns" % len(out), "least", "median", "most", "ratio"))
for name, times in (("outside", out), ("inside: the whole of `grade`", whole), ("inside: the test stage alone", stage)):
    print("%-34s %8.3f %8.3f %8.3f %8.3f" % (name, min(times), statistics.median(times), max(times), statistics.median(times) / base))
PYTHON
}

many() {
  mkdir -p "$place/suite" "$place/project"
  cat >"$place/suite/test_many.py" <<PYTHON
import subprocess, time
import pytest

at = []

@pytest.mark.parametrize("n", range($count))
def test_n(n):
    at.append(time.perf_counter())
    assert subprocess.call(["/bin/true"]) == 0

def test_times():
    at.append(time.perf_counter())
    first, last = at[500] - at[0], at[-1] - at[-501]
    pytest.fail("TIMES %.6f %.6f" % (first / 500, last / 500), pytrace=False)
PYTHON
  groups() { awk '$1 == "memory" { print $3 }' /proc/cgroups; }
  local before most=0 now
  before=$(groups)
  grade "$place/project" --tests "$place/suite" --timeout 3600 --output-limit 64M --json "$place/many.json" >/dev/null &
  while kill -0 $! 2>/dev/null; do
    now=$(groups)
    [ "$now" -le "$most" ] || most=$now
    sleep 0.1
  done
  wait $! || [ $? = 1 ] || die "the suite could not be graded"
  python3 - "$place/many.json" "$count" "$before" "$most" "$(groups)" <<'PYTHON'
import json, re, sys

path, count, before, most, after = sys.argv[1:]
cases = json.load(open(path))["testResults"]["testCases"]
first, last = re.search(r"TIMES ([\d.]+) ([\d.]+)", cases[-1]["description"]).groups()
print("%s tests, each of which starts a program; passed %d" % (count, sum(case["isPassed"] for case in cases)))
print("from the start of a test to the start of the next: first 500 %.2f ms, last 500 %.2f ms, ratio %.3f"
      % (float(first) * 1e3, float(last) * 1e3, float(last) / float(first)))
print("memory groups that the kernel kept, dead ones included: %s before, at most %s meanwhile, %s after" % (before, most, after))
PYTHON
}

calls() {
  cc -O2 -o "$place/calls" scripts/bench/calls.c
  python3 scripts/bench/calls.py target/release/ostest-sandbox "$state" "$place" "$runs"
}

"$what"
