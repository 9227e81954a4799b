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

import asyncio
import concurrent.futures
import multiprocessing


def turn(arguments):
    program, text = arguments
    return subprocess.run([program], input=text, capture_output=True, text=True, timeout=120).stdout.strip()


WORDS = ["".join(random.choices("abcdefgh", k=20)) for _ in range(6)]


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_processes(program, method):
    words = ["".join(random.choices("abcdefgh", k=20)) for _ in range(4)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(turn, [(str(program), word) for word in words]) == [word[::-1] for word in words]


def test_threads(program):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(turn, [(program, word) for word in WORDS])) == [word[::-1] for word in WORDS]


def test_asyncio(program):
    async def one(word):
        child = await asyncio.create_subprocess_exec(program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        out, _ = await child.communicate(word.encode())
        return out.decode().strip()

    async def all_of_them():
        return await asyncio.gather(*map(one, WORDS))

    assert asyncio.run(all_of_them()) == [word[::-1] for word in WORDS]
