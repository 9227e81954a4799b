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


@pytest.mark.parametrize("count", [0, 1, 100])
def test_sum(program, count):
    numbers = [random.randrange(-10**6, 10**6) for _ in range(count)]
    ran = subprocess.run([program], input=" ".join(map(str, numbers)), capture_output=True, text=True, timeout=60)
    assert ran.stdout == f"{sum(numbers)}\n"
    assert ran.returncode == 0


def test_refuses_words(program):
    assert subprocess.run([program], input="one two", capture_output=True, text=True, timeout=60).returncode == 1
