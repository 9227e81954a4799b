"""Runs CPython's own tests of everything that starts programs, in this process, and says what was not a success.

As a program it prints that, as a test of a suite it fails with it: in both as one line of JSON.
"""

import importlib
import json
import os
import sys
import tempfile
import unittest

MODULES = "test_subprocess test_posix test_pty test_popen test_os test_asyncio.test_subprocess".split()


class Outcomes(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.all = {}

    def note(self, test, outcome):
        # Of a test with parts the worst counts, which is told first.
        self.all.setdefault(test.id(), outcome)

    def addSuccess(self, test):
        self.note(test, "success")

    def addError(self, test, error):
        self.note(test, "error: %s" % str(error[1])[:300])

    def addFailure(self, test, error):
        self.note(test, "failure: %s" % str(error[1])[:300])

    def addSubTest(self, test, part, error):
        if error is not None:
            self.note(test, "failure: %s" % str(error[1])[:300])

    def addSkip(self, test, reason):
        self.note(test, "skipped: %s" % reason)


def run():
    os.chdir(tempfile.mkdtemp())
    sys.stdout.flush()
    all = {}
    for name in MODULES:
        try:
            module = importlib.import_module("test." + name)
        except unittest.SkipTest as skip:
            all[name] = "skipped: %s" % skip
            continue
        outcomes = Outcomes()
        unittest.defaultTestLoader.loadTestsFromModule(module).run(outcomes)
        all.update(outcomes.all)
    count = {}
    for outcome in all.values():
        kind = outcome.partition(":")[0]
        count[kind] = count.get(kind, 0) + 1
    rest = {test: outcome for test, outcome in all.items() if outcome != "success"}
    return json.dumps({"count": count, "rest": rest}, sort_keys=True)


def test_outcomes():
    import pytest

    pytest.fail("OUTCOMES " + run(), pytrace=False)


if __name__ == "__main__":
    print("OUTCOMES " + run())
