"""Tests of which it is known how they must end: `ostest-sandbox check` grades canary/submission with them."""

import os
import pathlib
import signal
import subprocess

PROGRAM = os.path.join(os.environ["OSTEST_PROJECT"], "canary")
HERE = pathlib.Path(__file__).parent


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)


def test_passes():
    assert run("hello").stdout == "hello\n"


def test_fails():
    # The program ends with 3. A run that lets this pass judges nothing.
    assert run("fail").returncode == 0


def test_memory():
    done = run("memory", (HERE / "mebibytes").read_text().strip())
    assert done.returncode == 0, done.stdout


def test_memory_limit():
    # More than the task may have: the kernel kills the program, and nobody else.
    assert run("memory", (HERE / "too-many").read_text().strip()).returncode == -signal.SIGKILL


def test_network():
    done = run("network")
    assert done.returncode == 0, done.stdout
    lines = pathlib.Path("/proc/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]


def test_outside():
    # The host's paths that must not be writable from here, one a line.
    for path in (HERE / "outside").read_text().splitlines():
        done = run("write", path)
        assert done.returncode == 0, done.stdout
