"""kvd as a family of processes: signals, workers, zombies."""

import os
import signal
import time

import pytest

import processes
from patience import LOOK, Patience
from server import Server

pytestmark = pytest.mark.lab(2)
needs_start = pytest.mark.dependency(depends=["kvd starts"], scope="session")
needs_answers = pytest.mark.dependency(depends=["kvd answers"], scope="session")
WORKERS = 3


@pytest.fixture
def server(project, tmp_path):
    """Not started yet: `with server:` in the test does that."""
    return lambda: Server(project.built("bin/kvd"), tmp_path, workers=WORKERS)


def eventually(running, look, good):
    """Looks again and again until it is good or patience is at its end; what was seen last."""
    patience = Patience(running.process.pid)
    while True:
        seen = look()
        if good(seen) or patience.is_over():
            return seen
        time.sleep(LOOK)


@needs_start
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signal_ends_it(server, name):
    with server() as running:
        running.stop(getattr(signal, name), name)


@needs_answers
def test_sigterm_ends_it_with_a_client_connected(server):
    with server() as running, running.connect() as client:
        client.ask("SET a 1", "OK")
        running.stop(signal.SIGTERM, "SIGTERM while a client was connected")


@needs_start
def test_no_worker_stays_behind(server):
    """Workers that outlive the supervisor keep the port, and the next start fails."""
    with server() as running:
        eventually(running, lambda: processes.children_of(running.process.pid), lambda seen: len(seen) == WORKERS)
        running.stop(signal.SIGTERM, "SIGTERM")
        left = processes.alive_in_group(running.process.pid)
        if left:
            running.fail(f"expected all workers to be gone when kvd ends, still there: {[one.pid for one in left]}")


@needs_start
def test_has_as_many_workers_as_asked(server):
    with server() as running:
        pid = running.process.pid
        seen = eventually(running, lambda: processes.children_of(pid), lambda seen: len(seen) == WORKERS)
        if len(seen) != WORKERS:
            running.fail(f"expected {WORKERS} child processes, got {len(seen)}")


@needs_answers
def test_dead_worker_is_replaced(server):
    """By one worker, and without a zombie. The values are there still: the workers share them."""
    with server() as running:
        with running.connect() as client:
            client.ask("SET kept safe", "OK")
            victim = client.worker()
            if victim not in {child.pid for child in processes.children_of(running.process.pid)}:
                running.fail(f"expected PID to name a child process of kvd, got {victim}")
            os.kill(victim, signal.SIGKILL)
        replaced = eventually(
            running, lambda: alive_children(running), lambda seen: len(seen) == WORKERS and victim not in seen)
        if len(replaced) != WORKERS or victim in replaced:
            running.fail(f"a worker was killed: expected {WORKERS} live ones again, {tally(running)}")
        time.sleep(0.3)  # long enough for one too many to show
        everybody = processes.alive_in_group(running.process.pid)
        if len(everybody) != WORKERS + 1:
            running.fail(f"one worker was killed and is to be replaced by one: expected the supervisor and {WORKERS} "
                         f"workers, {tally(running)}; does the new process leave the loop that starts processes?")
        running.ask("GET kept", "VALUE safe")


@needs_answers
def test_zombies_are_reaped(server):
    with server() as running:
        for _ in range(5):
            with running.connect() as client:
                os.kill(client.worker(), signal.SIGKILL)
        zombies = eventually(running, lambda: [child.pid for child in processes.children_of(running.process.pid)
                                      if child.state == "Z"], lambda seen: not seen)
        if zombies:
            running.fail(f"five workers were killed: expected kvd to wait for each, but these are zombies: {zombies}")


def alive_children(running):
    return {child.pid for child in processes.children_of(running.process.pid) if child.state not in "ZX"}


def tally(running):
    return f"got {len(processes.alive_in_group(running.process.pid))} processes, of which {len(alive_children(running))} " \
           "are children of kvd"
