import ctypes
import os
import pathlib
import random
import subprocess

import pytest

PROJECT = pathlib.Path(os.environ["OSTEST_PROJECT"])


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    made = tmp_path_factory.mktemp("built") / "library.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", made, PROJECT / "library.c"], check=True, timeout=120)
    return str(made)


@pytest.fixture
def library(built):
    return ctypes.CDLL(built)


def test_add(library):
    a, b = random.randrange(1000), random.randrange(1000)
    assert library.add(a, b) == a + b


def test_largest(library):
    numbers = [random.randrange(1000) for _ in range(10)]
    assert library.largest((ctypes.c_int * 10)(*numbers), 10) == max(numbers)


def test_what_it_lacks(library):
    assert hasattr(library, "smallest")
