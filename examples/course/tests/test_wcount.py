"""bin/wcount counts what it is given, and stays small while it does."""

import random

import pytest

import programs
from patience import PATIENCE

SAMPLES = {  # what goes in: lines, words, bytes
    "empty": (b"", (0, 0, 0)),
    "one-line": (b"to be or not to be\n", (1, 6, 19)),
    "several-lines": (b"one\ntwo three\nfour five six\n", (3, 6, 28)),
    "no-final-newline": (b"the last line\nhas no end", (1, 6, 24)),
    "spaces-around": (b"  a  b  \n", (1, 2, 9)),
    "tabs": (b"a\tb\tc\n", (1, 3, 6)),
    "blank-lines": (b"\n\n \n\n", (4, 0, 5)),
    "any-byte": (b"\x00\xff \x80\x01\n", (1, 2, 6)),
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_counts_standard_input(project, tmp_path, sample):
    text, (lines, words, size) = SAMPLES[sample]
    program = programs.run([project.built("bin/wcount")], cwd=tmp_path, input=text)
    why = f"\n  (lines, words and bytes of the input {programs.quote(text)})"
    program.expect_end(0).expect_output(f"{lines} {words} {size}\n".encode(), why)


def test_words_across_pieces(project, tmp_path):
    """Words longer than any buffer: a text comes in pieces, and a piece may end within a word."""
    words = [b"x" * random.randrange(1, 60_000) for _ in range(20)]
    text = b" ".join(words) + b"\n"
    program = programs.run([project.built("bin/wcount")], cwd=tmp_path, input=text)
    why = f"\n  (the input: {len(words)} words of {', '.join(str(len(word)) for word in words)} bytes)"
    program.expect_end(0).expect_output(f"1 {len(words)} {len(text)}\n".encode(), why)


def test_counts_each_file(project, tmp_path):
    (tmp_path / "first").write_bytes(b"one two\n")
    (tmp_path / "second").write_bytes(b"three\nfour\n")
    program = programs.run([project.built("bin/wcount"), "first", "second"], cwd=tmp_path)
    program.expect_end(0).expect_output(b"1 2 8 first\n2 2 11 second\n")


def test_missing_file_is_reported(project, tmp_path):
    (tmp_path / "there").write_bytes(b"one two\n")
    program = programs.run([project.built("bin/wcount"), "missing", "there"], cwd=tmp_path)
    program.expect_end(1).expect_output(b"1 2 8 there\n", " (the other file is to be counted all the same)")
    if b"missing" not in program.output["stderr"]:
        program.fail("expected the name of the missing file on standard error")


def test_large_input_in_little_memory(project, tmp_path):
    """A quarter of a gigabyte, while the program may have 32 MiB: it cannot keep what it has read.

    Through a pipe, and the same piece again and again: a file of that size in /tmp would itself be memory, and so would
    a string of that size in pytest.
    """
    line = b"all work and no play\n"
    piece, times = line * 3000, 4000
    program = programs.run([project.built("bin/wcount")], cwd=tmp_path, input=piece, times=times,
                           address_space_kib=32 * 1024, timeout=6 * PATIENCE)
    expected = f"{3000 * times} {5 * 3000 * times} {len(piece) * times}\n"
    program.expect_end(0).expect_output(expected.encode())


def test_sanitizers_find_nothing(project, tmp_path):
    """Once more with the address and undefined-behaviour sanitizers; what they find is in the message."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_bytes(b"one\n\ttwo \xff three\n" * 5000)
    program = programs.run([project.built("bin-san/wcount", "SAN=1"), "empty", "text"], cwd=tmp_path)
    program.expect_end(0).expect_output(b"0 0 0 empty\n10000 20000 85000 text\n")
