"""bin/kvd answers, over the loopback."""

import secrets
import socket

import pytest

import programs
from server import Server

pytestmark = pytest.mark.lab(2)


@pytest.mark.dependency(name="kvd starts", scope="session")
def test_says_where_it_listens(project, tmp_path):
    with Server(project.built("bin/kvd"), tmp_path) as server:
        server.connect().connection.close()


@pytest.mark.dependency(name="kvd answers", depends=["kvd starts"], scope="session")
def test_remembers_values(project, tmp_path):
    value = secrets.token_hex(8)
    with Server(project.built("bin/kvd"), tmp_path) as server:
        server.ask(f"SET colour {value}", "OK")
        server.ask("GET colour", f"VALUE {value}")
        server.ask("SET colour dark blue", "OK")
        server.ask("GET colour", "VALUE dark blue")


@pytest.mark.dependency(depends=["kvd answers"], scope="session")
@pytest.mark.parametrize("request_, answer", [("GET nothing", "MISSING"), ("DANCE", "ERROR")], ids=["missing", "unknown"])
def test_says_no(project, tmp_path, request_, answer):
    with Server(project.built("bin/kvd"), tmp_path) as server, server.connect() as client:
        got = client.request(request_)
        if got.split()[:1] != [answer]:
            server.fail(f"the request {request_!r}: expected an answer that begins with {answer}, got {got!r}")
        client.ask("SET a 1", "OK")  # the connection goes on after that


@pytest.mark.dependency(depends=["kvd answers"], scope="session")
def test_requests_come_as_they_like(project, tmp_path):
    """TCP knows no messages: a request may come in bits, and two at once."""
    with Server(project.built("bin/kvd"), tmp_path) as server, server.connect() as client:
        client.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"SET slow coach\n":
            client.send(bytes([byte]))
        got = client.read_line("SET slow coach, one byte at a time")
        client.send(b"GET slow\nGET nothing\n")
        got = [got, client.read_line("the first of two requests"), client.read_line("the second of two requests")]
        if got != ["OK", "VALUE coach", "MISSING"]:
            server.fail(f"expected the answers OK, VALUE coach, MISSING, got {got}")


@pytest.mark.dependency(depends=["kvd answers"], scope="session")
def test_endless_request_hurts_nobody(project, tmp_path):
    with Server(project.built("bin/kvd"), tmp_path) as server:
        with server.connect() as client:
            client.offer(b"x" * 1_000_000)  # closed in the middle: a good answer to that
        server.ask("SET after wards", "OK")


@pytest.mark.dependency(depends=["kvd answers"], scope="session")
def test_serves_as_many_clients_as_workers(project, tmp_path):
    """Nobody waits for somebody else who is connected and says nothing, as long as a worker is free."""
    with Server(project.built("bin/kvd"), tmp_path, workers=3) as server:
        clients = [server.connect() for _ in range(3)]
        for number, client in enumerate(clients):
            client.ask(f"SET from{number} {number}", "OK")
        for number, client in enumerate(clients):
            client.ask(f"GET from{(number + 1) % 3}", f"VALUE {(number + 1) % 3}")
        workers = {client.worker() for client in clients}
        if len(workers) != 3:
            server.fail(f"expected three clients to be with three workers, got the process ids {sorted(workers)}")
        for client in clients:
            client.connection.close()


@pytest.mark.dependency(depends=["kvd starts"], scope="session")
def test_port_in_use_is_an_error(project, tmp_path):
    with Server(project.built("bin/kvd"), tmp_path) as server:
        second = programs.run([project.built("bin/kvd"), server.port, 1], cwd=tmp_path)
        if second.status <= 0 or not second.output["stderr"]:
            second.fail("the port is taken: expected a message on standard error and an exit status that is not 0")


def test_sanitizers_find_nothing(project, tmp_path):
    with Server(project.built("bin-san/kvd", "SAN=1"), tmp_path) as server:
        server.ask("SET key " + "v" * 60, "OK")
        server.ask("GET key", "VALUE " + "v" * 60)
        server.ask("GET " + "k" * 30, "MISSING")
        server.stop(15, "SIGTERM")
        if server.output["stderr"]:
            server.fail("expected nothing on standard error")
