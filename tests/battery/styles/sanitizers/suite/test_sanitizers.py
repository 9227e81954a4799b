import os
import pathlib
import random
import subprocess

import pytest

PROJECT = pathlib.Path(os.environ["OSTEST_PROJECT"])


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    made = tmp_path_factory.mktemp("built") / "program"
    subprocess.run(["gcc", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-o", made, PROJECT / "main.c"], check=True, timeout=120)
    return made

# What a program asks of the sanitizers itself (__asan_default_options) comes before these.
CLEAN = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:exitcode=99:log_path=stderr", UBSAN_OPTIONS="print_stacktrace=1")


@pytest.mark.parametrize("words", [1, 3, 40])
def test_its_memory_is_its_own(program, words):
    given = " ".join("word" * random.randrange(1, 9) for _ in range(words))
    ran = subprocess.run([program, given], capture_output=True, text=True, timeout=120, env=CLEAN)
    assert "Sanitizer" not in ran.stderr and ran.returncode == 0, ran.stderr
    assert ran.stdout == given.upper() + "\n"
