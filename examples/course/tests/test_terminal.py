"""Programs on a terminal: a pseudo-terminal here, which is all the same to them."""

import pytest

import programs
from server import Server


def test_wcount_speaks_to_people(project, tmp_path):
    """On a terminal the numbers have names, and ^D at the beginning of a line is the end of the input."""
    with programs.Program([project.built("bin/wcount")], cwd=tmp_path, terminal=True) as program:
        program.type(b"hello there\nworld\n\x04")
        got = program.read_line("the counts of what was typed before ^D")
        if got != "lines 2, words 3, bytes 18":
            program.fail(f"expected 'lines 2, words 3, bytes 18' on a terminal, got {got!r}")
        program.wait().expect_end(0)


@pytest.mark.lab(2)
def test_interrupt_key_ends_kvd(project, tmp_path):
    """^C is sent by the terminal to all processes of the group at once: the workers die while kvd is ending."""
    with Server(project.built("bin/kvd"), tmp_path, terminal=True) as server:
        server.type(b"\x03")
        server.wait(what="kvd to end after ^C").expect_end(0)
