"""Shows of each test that its call phase ran, and that the function which was collected was called in it.

A report that says "passed" is no proof of that: with `--setup-plan`, or with a plugin that answers pytest_pyfunc_call itself, pytest
passes what was never run. So the code of the test is watched: its function, or of other items what their `runtest` is.
The word of it goes along with the report of the call, as far as another process where a plugin runs the test in one.

Standard library only, Python 3.9 and later, pytest 7 and later.
"""

import functools
import sys
import threading
import types

import pytest

# Where the report of a call has it.
MARK = "ostest_called"


class Called:
    """The hooks. `tell` is told of each call that was proved, with the report."""

    def __init__(self, tell):
        self.tell = tell
        self.codes = {}
        self.watch = None
        self.entered = False
        self.item = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session):
        for item in session.items:
            self.codes[id(item)] = codes_of(item)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item):
        codes = self.codes.get(id(item))
        if self.watch is None:
            self.watch = make_watch()
        self.item, self.entered = item, False
        done = self.watch.begin(codes) if codes else (lambda: True)
        yield
        self.entered = done()

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_makereport(self, item, call):
        outcome = yield
        if call.when == "call" and self.item is item and outcome.excinfo is None:
            report = outcome.get_result()
            if self.entered and isinstance(report, pytest.TestReport):
                setattr(report, MARK, True)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report):
        if report.when == "call" and getattr(report, MARK, False) is True:
            self.tell()


def codes_of(item):
    """The code that runs when this test is called; none where it cannot be watched, being no Python."""
    function = getattr(item, "obj", None)
    left = [getattr(item, "runtest", None) if function is None else function]
    codes, seen = set(), set()
    while left:
        function = left.pop()
        if function is None or id(function) in seen:
            continue
        seen.add(id(function))
        names = getattr(function, "__dict__", None) or {}
        # Decorators that call what they decorate lead to it by this name.
        left.append(names.get("__wrapped__"))
        if isinstance(function, types.MethodType):
            left.append(function.__func__)
        elif isinstance(function, functools.partial):
            left.append(function.func)
        elif isinstance(function, types.FunctionType):
            codes.add(function.__code__)
        elif isinstance(type(function).__dict__.get("__call__"), types.FunctionType):
            left.append(type(function).__dict__["__call__"])
    return frozenset(codes)


def make_watch():
    """The cheapest way to see code run that this Python has."""
    monitoring = getattr(sys, "monitoring", None)
    # Those that have no use of their own first.
    for tool in (4, 3, 5, 2, 0) if monitoring else ():
        if monitoring.get_tool(tool) is None:
            return Monitoring(monitoring, tool)
    return Profile()


class Monitoring:
    """Python 3.12 and later: costs nothing outside of the code that is watched."""

    def __init__(self, monitoring, tool):
        self.monitoring, self.tool = monitoring, tool
        self.entered = False
        monitoring.use_tool_id(tool, "ostest")
        monitoring.register_callback(tool, monitoring.events.PY_START, self.enter)

    def enter(self, code, offset):
        self.entered = True

    def begin(self, codes):
        self.entered = False
        for code in codes:
            self.monitoring.set_local_events(self.tool, code, self.monitoring.events.PY_START)

        def done():
            for code in codes:
                self.monitoring.set_local_events(self.tool, code, 0)
            return self.entered

        return done


class Profile:
    """Earlier: each call is looked at until the test's own, and none after it. A profiler that is in place already keeps it."""

    def begin(self, codes):
        entered = []

        def look(frame, event, argument):
            if entered or frame.f_code in codes:
                entered.append(True)
                leave_threads()
                sys.setprofile(None)

        def leave_threads():
            # What the test itself starts has nothing of this: a plugin may have started the test in a thread, no more.
            if getattr(threading, "_profile_hook", None) is look:
                threading.setprofile(before)

        if sys.getprofile() is not None:
            return lambda: True
        before = getattr(threading, "_profile_hook", None)
        threading.setprofile(look)
        sys.setprofile(look)

        def done():
            leave_threads()
            if sys.getprofile() is look:
                sys.setprofile(None)
            return bool(entered)

        return done
