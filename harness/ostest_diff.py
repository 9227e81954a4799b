"""The whole difference where an assertion fails.

pytest shows eight lines of it, and asks for `-vv`, which nobody gives a suite that a runner starts. So it is asked as if that had
been given, for this one question, and only where both sides are small enough: pytest's own difference of two large texts that
have nothing in common takes minutes, and memory a hundred times theirs. Of larger ones pytest compares the part around the first
difference, and a plain one of the whole is added, line by line. A suite that says itself how much it wants (`verbosity_assertions`, `-vv`)
gets that of all but the very large.

Standard library only, Python 3.9 and later; pytest 7 and later.
"""

import copy
import difflib

import pytest

# Characters and lines of a text, and parts of a structure, all in all.
CHARACTERS = 64 << 10
LINES = 200
PARTS = 200
# What is very large: a program that writes without end has not failed its suite by that, but itself.
LARGE = 20
# Lines of which a plain difference is made, and lines of it that are shown: the first and the last.
MOST = 20000
SHOWN = 400


class Diff:
    """A plugin. Its hook is within pytest's own, which sets what this one wraps."""

    def __init__(self):
        try:
            from _pytest._io.saferepr import SafeRepr
        except ImportError:
            return
        # It looks for a function of this name. Of the text that it makes it shows some hundred characters.
        SafeRepr.repr_CompletedProcess = repr_completed

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_protocol(self, item):
        try:
            from _pytest.assertion import util

            original = util._reprcompare
            config = item.config
            if original is not None:
                # pytest puts back what was there before its own.
                util._reprcompare = in_full(config, original, is_auto(config))
        except (ImportError, AttributeError):
            pass
        yield


def repr_completed(how, done, level):
    """A finished program as pytest shows it, without making a text of all its output before most of that is left out."""
    large = [name for name in ("stdout", "stderr") if type(getattr(done, name, None)) in (str, bytes) and len(getattr(done, name)) > CHARACTERS]
    if large:
        done = copy.copy(done)
        for name in large:
            value = getattr(done, name)
            setattr(done, name, value[:2000] + value[-2000:])
    return how.repr_instance(done, level)


def is_auto(config):
    try:
        return config.getini("verbosity_assertions") in ("auto", None, "")
    except (KeyError, ValueError):
        # Older than that setting.
        return True


def in_full(config, original, auto):
    def compare(op, left, right):
        if not auto or getattr(config.option, "verbose", 2) >= 2:
            return original(op, *(part(op, left, right) if is_large(left) or is_large(right) else (left, right)))
        if not (is_small(left) and is_small(right)):
            said = original(op, *part(op, left, right))
            return said if op != "==" else added(said, plain(left, right))
        before = config.option.verbose
        config.option.verbose = 2
        try:
            return original(op, left, right)
        finally:
            config.option.verbose = before

    return compare


def part(op, left, right):
    """What pytest is to compare of two large values."""
    if op in ("in", "not in"):
        # Where it was found; what it is in is shown as pytest shows any long text.
        if type(left) is str and type(right) is str and op == "not in" and len(left) <= CHARACTERS:
            at = max(0, right.find(left) - 200)
            return left, right[at : at + len(left) + 400]
        return left, right
    for kind, most in ((str, CHARACTERS // 4), (bytes, CHARACTERS // 4), (list, PARTS // 4), (tuple, PARTS // 4)):
        if type(left) is kind and type(right) is kind:
            at = alike(left, right)
            start = at - len(few_lines(left[max(0, at - most // 8) : at], last=True))
            return tuple(few_lines(side[start : start + most]) for side in (left, right))
    return left, right


def alike(left, right):
    """How far two texts or lists are the same, from their beginning on."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def few_lines(value, last=False):
    """The first lines of a text, or the last ones; of a list all."""
    if type(value) not in (str, bytes):
        return value
    lines = value.splitlines(True)
    return value[:0].join(lines[-LINES // 16 :] if last else lines[: LINES // 4])


def is_large(value):
    return not is_small(value, LARGE)


def added(said, lines):
    """pytest's explanation with more lines below it, in the form in which it takes them: no newlines, and no single percent."""
    if not said or not lines:
        return said
    return "\n~".join([said, "", *(line.replace("\n", "\\n").replace("%", "%%") for line in lines)])


def plain(left, right):
    """The lines in which two texts or lists differ, with a few around them."""
    if type(left) is str and type(right) is str:
        # Counted before they are made: each is an object of its own.
        if left.count("\n") + right.count("\n") > MOST:
            return []
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


def is_small(value, times=1):
    """Whether its difference from another one is soon found. What it does not know is, as pytest itself shows it on one line."""
    left = [CHARACTERS * times, LINES * times, PARTS * times]
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
