"""Keeps pytest's folder for temporary files in order: what a program does to it is not to break other tests.

pytest makes `/tmp/pytest-of-USER/pytest-N` with the first `tmp_path`, and remembers it. It is the student's, as all that pytest makes: a program
can remove it (`rm -rf /tmp/*`), put something else in its place, or take its own permissions away. So it is made before a test runs, and
looked after whenever pytest is about to make a folder in it. What was in it is not brought back.

Standard library only, Python 3.9 and later, pytest 7 and later.
"""

import os
import stat
import tempfile

import pytest


class Temporary:
    def __init__(self):
        self.base, self.with_parent = None, True

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session):
        factory = getattr(session.config, "_tmp_path_factory", None)
        original = getattr(factory, "getbasetemp", None)
        if original is None:
            return
        # One that the suite names itself is emptied when it is asked for, and not before.
        self.with_parent = getattr(factory, "_given_basetemp", None) is None

        def getbasetemp():
            base = original()
            self.base = str(base)
            self.look()
            return base

        factory.getbasetemp = getbasetemp
        if self.with_parent:
            try:
                getbasetemp()
            except (OSError, ValueError):
                pass


    # At its end pytest looks through it.
    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self):
        self.look()

    def look(self):
        try:
            if self.base is not None:
                mend(self.base, self.with_parent)
        except OSError:
            # pytest says what is wrong, where it matters.
            pass


def mend(base, with_parent):
    for folder in (os.path.dirname(base), base) if with_parent else (base,):
        try:
            found = os.lstat(folder)
        except FileNotFoundError:
            os.mkdir(folder, 0o700)
            continue
        if not stat.S_ISDIR(found.st_mode):
            os.rename(folder, os.path.join(tempfile.mkdtemp(dir=os.path.dirname(folder)), "was-here"))
            os.mkdir(folder, 0o700)
        elif found.st_mode & 0o700 != 0o700:
            os.chmod(folder, stat.S_IMODE(found.st_mode) | 0o700)
