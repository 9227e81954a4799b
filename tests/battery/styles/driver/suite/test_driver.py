import os
import pathlib
import random
import secrets
import subprocess

import pytest

PROJECT = pathlib.Path(os.environ["OSTEST_PROJECT"])
HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    out = tmp_path_factory.mktemp("built")
    command = ["make", "-s", "-f", "Makefile", f"OUT={out}", f"PROJECT={PROJECT}"]
    subprocess.run(command, cwd=HERE, check=True, timeout=120)
    return out / "driver"


@pytest.mark.parametrize("count", [1, 50])
def test_add(driver, count):
    pairs = [(random.randrange(10**6), random.randrange(10**6)) for _ in range(count)]
    nonce = secrets.token_hex(16)
    asked = "".join(f"{a} {b}\n" for a, b in pairs) + f"end {nonce}\n"
    ran = subprocess.run([driver], input=asked, capture_output=True, text=True, timeout=60)
    assert ran.stdout.split() == [*(str(a + b) for a, b in pairs), nonce]
    assert ran.returncode == 0
