import os
import pathlib
import random
import subprocess

import pytest

PROJECT = pathlib.Path(os.environ["OSTEST_PROJECT"])


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    made = tmp_path_factory.mktemp("built") / "program"
    subprocess.run(["gcc", "-g", "-o", made, PROJECT / "main.c"], check=True, timeout=120)
    return made

import pexpect


def test_a_dialogue(program):
    child = pexpect.spawn(str(program), encoding="utf-8", timeout=60, echo=False)
    for _ in range(5):
        child.expect("> ")
        a, b = random.randrange(1000), random.randrange(1000)
        child.sendline(f"{a} {b}")
        assert child.readline().strip() == str(a + b)
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_it_sees_a_terminal(program):
    child = pexpect.spawn(str(program), encoding="utf-8", timeout=60, dimensions=(24, 80))
    child.expect("> ")
    assert child.isatty()
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.signalstatus == 2
