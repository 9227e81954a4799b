"""Builds the test programs with cargo and runs them, two at a time: within a program the last test often runs alone, and cargo, which
runs one program after the other, leaves processors idle for as long.

run_tests.py [--list] [--test NAME]... [FILTER...]
    --test NAME  only the programs in tests/NAME
    --list       prints them, one a line, the slowest first, and runs none: the package's directory, the program, its name, and
                 whether it is one of tests/ (test) or of unit tests (lib, bin)
    FILTER       only tests whose name contains one of these
"""

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import threading

# Those that take longest go first, or the last would run alone at the end.
SLOWEST = (
    "environments crash os_nsu holds cpython spool harness faults battery attacks course grade grade_memory seccomp_live git check "
    "log least signals"
).split()
AT_A_TIME = 2


def built(names):
    """The programs that cargo has made: package's directory, program, name, kind."""
    which = ["--workspace"] if not names else ["--test=" + name for name in names]
    command = ["cargo", "test", *which, "--no-run", "--quiet", "--message-format=json"]
    cargo = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if cargo.returncode != 0:
        for line in cargo.stdout.splitlines():
            rendered = (json.loads(line).get("message") or {}).get("rendered")
            if rendered:
                print(rendered, file=sys.stderr)
        sys.exit(cargo.returncode)
    found = []
    for line in cargo.stdout.splitlines():
        message = json.loads(line)
        if message["reason"] != "compiler-artifact" or not message["executable"] or not message["profile"]["test"]:
            continue
        target = message["target"]
        found.append((os.path.dirname(message["manifest_path"]), message["executable"], target["name"], target["kind"][0]))
    place = {name: number for number, name in enumerate(SLOWEST)}
    return sorted(found, key=lambda program: (place.get(program[2], len(place)), program[1]))


def run(program, filters, top, speaking):
    """Runs one as cargo does, in its package's directory, and says all that it has said when it has ended."""
    package, executable, name, _ = program
    # The second is what insta would otherwise ask cargo for.
    env = dict(os.environ, CARGO_MANIFEST_DIR=package, INSTA_WORKSPACE_ROOT=top)
    command = [executable, "--nocapture", *filters]
    done = subprocess.run(command, cwd=package, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    with speaking:
        print("     Running", name, flush=True)
        sys.stdout.buffer.write(done.stdout)
        if done.returncode != 0:
            print(f"error: {os.path.basename(executable)} ended with {done.returncode}")
        sys.stdout.flush()
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--test", action="append", default=[])
    parser.add_argument("filters", nargs="*")
    options = parser.parse_args()
    programs = built(options.test)
    if not programs:
        sys.exit("there are no test programs")
    if options.list:
        for program in programs:
            print(*program, sep="\t")
        return
    speaking = threading.Lock()
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        good = list(pool.map(lambda program: run(program, options.filters, os.getcwd(), speaking), programs))
    sys.exit(0 if all(good) else 101)


if __name__ == "__main__":
    main()
