import os
import pathlib
import random
import subprocess

import cffi
import pytest

PROJECT = pathlib.Path(os.environ["OSTEST_PROJECT"])


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    made = tmp_path_factory.mktemp("built") / "library.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", made, PROJECT / "library.c"], check=True, timeout=120)
    return str(made)


@pytest.fixture
def library(built):
    ffi = cffi.FFI()
    ffi.cdef("int add(int a, int b); int largest(const int *numbers, int count);")
    return ffi.dlopen(built)


def test_add(library):
    a, b = random.randrange(1000), random.randrange(1000)
    assert library.add(a, b) == a + b


def test_largest(library):
    numbers = [random.randrange(1000) for _ in range(10)]
    assert library.largest(numbers, 10) == max(numbers)
