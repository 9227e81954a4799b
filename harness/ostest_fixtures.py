"""Whose programs are these: a test's, or those of a fixture that outlives it?

Each fixture of a scope wider than a function has a leaf of its own, `fN`, which the launcher makes when the fixture starts
something. What the fixture starts while it is set up or taken down goes there. What xunit's setup_module and its kin and
unittest's setUpClass do are fixtures to pytest, too. When the fixture has been taken down the leaf ends, with all that is left in
it. Function-scoped fixtures belong to their test.

A program that the fixture keeps descends from pytest. Whatever else is left of its set-up, a daemon that a `make` has started, is ended when
that is over, and so is what is left of collection.

A test's figure counts the leaves of fixtures that it uses. Standard library only, Python 3.9 and later, pytest 7 and later.
"""

import functools
import os
import stat

import pytest
from ostest_leaves import SESSION

# What takes the output of programs is told again where it has grown by so much when pytest reads and empties it.
WORTH_TELLING = 64 << 10


class Fixtures:
    """The hooks. Without a launcher that counts there is no instance."""

    def __init__(self, leaves):
        self.leaves = leaves
        self.count = 0
        # By the identity of a fixture's definition, while it is set up: its leaf, and whom it used itself.
        self.leaf_of = {}
        self.used_by = {}
        self.told = set()
        self.files = None

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef, request):
        if fixturedef.scope == "function":
            yield
            return
        self.count += 1
        leaf, key = "f%d" % self.count, id(fixturedef)
        before = active(request)
        self.leaf_of[key] = leaf
        self.used_by[key] = {before[name] for name in fixturedef.argnames if name in before}
        # The last of all finalizers: they run in the order opposite to that in which they were added.
        fixturedef.addfinalizer(functools.partial(self.end, key, leaf))
        try:
            self.leaves.enter(leaf)
            yield
        finally:
            self.leaves.leave(leaf, settled=True)
            self.used_by[key].update(set(active(request).values()) - set(before.values()) - {key})
            # The first of the fixture's own.
            fixturedef.addfinalizer(functools.partial(self.leaves.enter, leaf))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self):
        self.leaves.leave(SESSION, settled=True)

    def end(self, key, leaf):
        if self.leaf_of.get(key) == leaf:
            del self.leaf_of[key], self.used_by[key]
        self.leaves.end(leaf)

    def uses(self, item):
        """The leaves of all wider fixtures that the test uses, by name or by way of others."""
        named = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
        left = [id(definitions[-1]) for definitions in named.values() if definitions]
        left += active(getattr(item, "_request", None)).values()
        found = set()
        while left:
            key = left.pop()
            if key not in found:
                found.add(key)
                left += self.used_by.get(key, ())
        return {self.leaf_of[key] for key in found if key in self.leaf_of}

    def mark(self, item):
        """Tells what is not yet told of what the test uses, and where its output goes."""
        files, uses = captured(), self.uses(item)
        if files != self.files:
            self.leaves.mark(uses, list(files.values()))
        elif uses != self.told:
            self.leaves.mark(uses)
        self.files, self.told = files, uses

    def see_output(self, item):
        """Pytest reads and empties these files next: until here they were in the test's memory."""
        if sum(size_of(fd) for fd in captured().values()) >= WORTH_TELLING:
            self.leaves.mark(self.uses(item))

    # Inside pytest's own wrapper, so that standard output is what programs get.
    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_setup(self, item):
        self.told = set()
        self.mark(item)
        yield
        self.see_output(item)

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_call(self, item):
        self.mark(item)
        yield
        self.see_output(item)

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item):
        self.mark(item)
        yield
        self.see_output(item)


def active(request):
    """The fixtures that a test has so far, by name."""
    return {name: id(fixturedef) for name, fixturedef in (getattr(request, "_fixture_defs", None) or {}).items()}


def captured():
    """The files at standard output and error, each once: by device and inode, with a descriptor."""
    files = {}
    for fd in (1, 2):
        try:
            found = os.fstat(fd)
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode):
            files.setdefault((found.st_dev, found.st_ino), fd)
    return files


def size_of(fd):
    try:
        return os.fstat(fd).st_blocks * 512
    except OSError:
        return 0
