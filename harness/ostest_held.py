"""The hooks by which pytest is held to what the harness lets in (ostest_config.py, ostest_guard.py), and what was seen is told.

Standard library only, Python 3.9 and later, pytest 7 and later.
"""

import os

import pytest
from _pytest.doctest import DoctestItem
from ostest_trust import is_trusted, lies_in, named


class Held:
    """What the start has taken, and how the channel is spoken to."""

    def __init__(self, taken):
        self.notes, self.guard, self.configuration, self.tools = taken.notes, taken.guard, taken.configuration, taken.tools
        self.project = os.environ.get("OSTEST_PROJECT")
        self.main = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config):
        if self.main is not None or self.configuration is None:
            return
        self.main = self.configuration.config = config
        wrong = self.configuration.look(config)
        if wrong:
            raise pytest.UsageError(wrong)

    def pytest_ignore_collect(self, collection_path, config):
        path = str(collection_path)
        if self.submitted(path, config):
            # Without an argument that leads there, pytest only passes by.
            for argument in config.args:
                if lies_in(argument.partition("::")[0], self.project):
                    self.notes.note("remark", "%s was not collected: a submission's own tests do not count" % named(argument))
            return True
        # Put there by a program that a starter or a conftest has started. To read it would be refused, and break the run.
        if path.endswith(".py") and self.planted(path, config):
            self.notes.note("tampering", "%s was not collected, because the submission could have written it" % named(path))
            return True
        return None

    # Items by whichever way they came, a file that the command names among them. A file of doctests is code that has no name.
    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, config, items):
        yield
        kept = []
        for item in items:
            path = str(getattr(item, "path", None) or "")
            if path and self.submitted(path, config):
                self.notes.note("remark", "%s was not run: a submission's own tests do not count" % named(path))
            elif path and isinstance(item, DoctestItem) and self.planted(path, config):
                self.notes.note("tampering", "%s was not run, because the submission could have written it" % named(path))
            else:
                kept.append(item)
        items[:] = kept

    def submitted(self, path, config):
        """Whether it lies in the submission. Where a suite loads student code it may be what the suite is about."""
        if self.guard is None or self.guard.libraries or config is not self.main:
            return False
        return lies_in(path, self.project)

    def planted(self, path, config):
        """Whether a student could have written it."""
        if self.guard is None or self.guard.modules or config is not self.main:
            return False
        return os.path.isfile(path) and not is_trusted(path)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session):
        wrong = self.configuration and session.config is self.main and self.configuration.look(session.config)
        if wrong:
            raise pytest.UsageError(wrong)

    # Around what others do at a test's end, and before the harness says that it has come.
    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self, nodeid):
        self.look()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self):
        self.look()

    def look(self):
        if self.guard is not None:
            self.guard.look_at_maps()
        if self.tools is not None:
            self.tools.look()
        self.notes.drain()
