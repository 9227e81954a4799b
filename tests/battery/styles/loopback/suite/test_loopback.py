import os
import pathlib
import random
import subprocess

import pytest

PROJECT = pathlib.Path(os.environ["OSTEST_PROJECT"])


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    made = tmp_path_factory.mktemp("built") / "program"
    subprocess.run(["gcc", "-g", "-pthread", "-o", made, PROJECT / "main.c"], check=True, timeout=120)
    return made

import socket
import threading


@pytest.fixture(scope="module")
def port(program):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([program, str(port)], stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "ready\n"
    yield port
    server.terminate()
    server.wait(60)


def ask(port, text):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(text.encode())
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


def test_one_client(port):
    text = "".join(random.choices("abcdefgh", k=1000))
    assert ask(port, text) == text.upper()


def test_clients_at_the_same_time(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60):
        answers = {}
        threads = [threading.Thread(target=lambda n=n: answers.update({n: ask(port, f"client {n}")})) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert answers == {n: f"CLIENT {n}" for n in range(8)}
