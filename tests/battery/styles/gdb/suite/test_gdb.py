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


def gdb(program, *commands):
    words = [word for command in commands for word in ("-ex", command)]
    ran = subprocess.run(["gdb", "-batch", *words, program], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    return ran.stdout


def test_it_calls_itself(program):
    said = gdb(program, "break factorial if n == 1", "run 5", "backtrace")
    assert said.count("factorial (n=") >= 5, said


def test_its_answer(program):
    said = gdb(program, "break factorial", "run 6", "delete", "finish", "print $ == 0")
    assert subprocess.run([program, "6"], capture_output=True, text=True, timeout=60).stdout == "720\n"
    assert "factorial (n=6)" in said, said


def test_that_it_has_a_helper(program):
    assert "Breakpoint 1 at" in gdb(program, "break helper")
