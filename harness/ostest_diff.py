"""The whole difference where an assertion fails.

pytest shows eight lines of it, and asks for `-vv`, which nobody gives a suite that a runner starts. So it is asked as if that had
been given, for this one question, and only where both sides are small enough: pytest's own difference of two large texts that
have nothing in common takes minutes. Of larger ones a plain one is added, line by line. A suite that says itself how much it
wants (`verbosity_assertions`) is left alone.

Standard library only, Python 3.9 and later; pytest 7 and later.
"""

import difflib

import pytest

# Characters and lines of a text, and parts of a structure, all in all.
CHARACTERS = 64 << 10
LINES = 200
PARTS = 200
# Lines of which a plain difference is made, and lines of it that are shown: the first and the last.
MOST = 20000
SHOWN = 400


class Diff:
    """A plugin. Its hook is within pytest's own, which sets what this one wraps."""

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_protocol(self, item):
        try:
            from _pytest.assertion import util

            original = util._reprcompare
            config = item.config
            if original is not None and is_auto(config):
                # pytest puts back what was there before its own.
                util._reprcompare = in_full(config, original)
        except (ImportError, AttributeError):
            pass
        yield


def is_auto(config):
    try:
        return config.getini("verbosity_assertions") in ("auto", None, "")
    except (KeyError, ValueError):
        # Older than that setting.
        return True


def in_full(config, original):
    def compare(op, left, right):
        if getattr(config.option, "verbose", 2) >= 2:
            return original(op, left, right)
        if not (is_small(left) and is_small(right)):
            said = original(op, left, right)
            return said if op != "==" else added(said, plain(left, right))
        before = config.option.verbose
        config.option.verbose = 2
        try:
            return original(op, left, right)
        finally:
            config.option.verbose = before

    return compare


def added(said, lines):
    """pytest's explanation with more lines below it, in the form in which it takes them: no newlines, and no single percent."""
    if not said or not lines:
        return said
    return "\n~".join([said, "", *(line.replace("\n", "\\n").replace("%", "%%") for line in lines)])


def plain(left, right):
    """The lines in which two texts or lists differ, with a few around them."""
    if type(left) is str and type(right) is str:
        parts = [left.splitlines(), right.splitlines()]
    elif type(left) in (list, tuple) and type(right) is type(left) and len(left) + len(right) <= MOST:
        parts = [[repr(one)[:200] for one in side] for side in (left, right)]
    else:
        return []
    if sum(map(len, parts)) > MOST:
        return []
    # As pytest has it: `-` is only on the right, `+` only on the left.
    lines = [line[:300] for line in difflib.unified_diff(parts[1], parts[0], "right", "left", lineterm="")]
    if len(lines) <= SHOWN:
        return lines
    note = "[... %d lines left out ...]" % (len(lines) - SHOWN)
    return [*lines[: SHOWN // 2], note, *lines[-SHOWN // 2 :]]


def is_small(value):
    """Whether its difference from another one is soon found. What it does not know is, as pytest itself shows it on one line."""
    left = [CHARACTERS, LINES, PARTS]
    waiting = [value]
    while waiting:
        part = waiting.pop()
        left[2] -= 1
        kind = type(part)
        if kind in (str, bytes, bytearray):
            left[0] -= len(part)
            left[1] -= part.count("\n" if kind is str else b"\n")
        elif kind in (list, tuple, set, frozenset, dict):
            left[2] -= len(part)
            if left[2] >= 0:
                waiting.extend(part)
                if kind is dict:
                    waiting.extend(part.values())
        if min(left) < 0:
            return False
    return True
