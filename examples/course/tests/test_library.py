"""text_feed() called from C, by the checker that this suite builds in its own tree.

The student's code runs within the checker, so the checker's word is worth nothing: it only passes questions on. See
checker/checker.c for how the questions are put so that only counting answers them.
"""

import pathlib
import random
import secrets

import pytest

import assignment
import programs

CHECKER = pathlib.Path(__file__).resolve().parent.parent / "checker"


@pytest.fixture
def checker(project, tmp_path):
    """Starts the checker. A function, to be called in the test: what fails there is a failed test, not an error."""

    def start():
        project.built("bin/libtext.a")
        make = ["make", "-f", "Makefile", "--always-make", "-C", CHECKER, f"PROJECT={project.directory}"]
        made = programs.run(make, cwd=tmp_path, timeout=assignment.COMPILE_TIMEOUT)
        if made.status != 0:
            made.fail("expected the suite's checker to compile and link against src/text.h and bin/libtext.a")
        return programs.Program([CHECKER / "bin" / "checker"], cwd=tmp_path)

    return start


def ask(program, request, expected, what, body=b""):
    program.send(request.encode() + b"\n" + body)
    got = program.read_line(f"an answer to {what}")
    if got != expected:
        program.fail(f"{what}: expected {expected!r}, got {got!r}")


def finish(program):
    """The proof that the checker was still itself at the end: the nonce did not exist before."""
    nonce = secrets.token_hex(16)
    ask(program, f"finish {nonce}", f"finished {nonce}", "the end of the checker")
    program.wait().expect_end(0)


def test_counts_random_texts(checker):
    with checker() as program:
        for _ in range(20):
            text = random_text()
            counts = f"0 {text.count(10)} {len(text.split())} {len(text)}"
            ask(program, "new", "new", "a new text")
            ask(program, f"feed {len(text)}", counts, f"returned, lines, words, bytes of {programs.quote(text)}", text)
        finish(program)


def test_counts_in_pieces(checker):
    """The counts do not depend on where a text was cut."""
    text = random_text(2000)
    with checker() as program:
        ask(program, "new", "new", "a new text")
        start = 0
        while start < len(text):
            end = min(len(text), start + random.randrange(100))
            seen, piece = text[:end], text[start:end]
            counts = f"0 {seen.count(10)} {len(seen.split())} {len(seen)}"
            what = f"returned, lines, words, bytes so far, after the piece {programs.quote(piece)}"
            ask(program, f"feed {len(piece)}", counts, what, piece)
            start = end
        finish(program)


def test_refuses_null(checker):
    with checker() as program:
        ask(program, "null counts", "-1", "text_feed(NULL, \"text\", 4)")
        ask(program, "null text", "-1", "text_feed(&counts, NULL, 4)")
        finish(program)


def random_text(size=None):
    letters = b"abcxyz" * 3 + b" \n\t" * 2
    return bytes(random.choice(letters) for _ in range(size or random.randrange(1, 80)))
