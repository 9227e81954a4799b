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


def test_it_leaks_nothing(program):
    command = ["valgrind", "-q", "--leak-check=full", "--error-exitcode=99", program]
    ran = subprocess.run(command, input="some words\n" * 20, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr


def test_its_answer(program):
    ran = subprocess.run([program], input="abc\n", capture_output=True, text=True, timeout=60)
    assert ran.stdout == "cba\n"
