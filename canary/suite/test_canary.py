"""What must be so in a sandbox on every host. One test fails on purpose: a host on which it passes judges wrongly."""

import os
import pathlib
import signal
import socket
import subprocess

import pytest

PROJECT = pathlib.Path(os.environ["OSTEST_PROJECT"])
OUTSIDE = ["/usr/ostest-canary", "/etc/ostest-canary", "/ostest-canary", "/proc/sys/kernel/hostname"]


def run(*args):
    return subprocess.run([PROJECT / args[0], *args[1:]], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)


def test_a_program_runs():
    assert run("hello").stdout == b"hello\n"


def test_a_wrong_program_fails():
    assert run("hello").stdout == b"something else\n"


def test_memory_within_the_limit_can_be_had():
    assert run("eat", "16").stdout == b"1\n"


def test_memory_beyond_the_limit_cannot():
    assert run("eat", "1000").returncode == -signal.SIGKILL


def test_there_is_no_network():
    assert [name for _, name in socket.if_nameindex()] == ["lo"]
    with pytest.raises(OSError):
        # An address for documentation, which nobody has.
        socket.create_connection(("192.0.2.1", 9), timeout=5)


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_of_the_host_can_be_written(path):
    with pytest.raises(OSError):
        with open(path, "w", encoding="utf-8") as file:
            file.write("written")


def test_nobody_is_anybody_here():
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
