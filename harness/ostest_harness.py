"""The harness's pytest plugin: tells the runner what pytest does, and selects the tests that a task names.

The runner loads it with ``-p ostest_harness`` in PYTEST_ADDOPTS. What was handed in ostest_start.py has taken over; without
a channel for events (one JSON object per message, each ending with a newline) nothing is done. Beside it there are these
settings in the environment, all of which are gone again before a test runs:

OSTEST_SELECT                 path of a JSON file with a list of names of tests; absent or an empty list: all tests
OSTEST_TEST_TIMEOUT           seconds for each of set-up, call and tear-down of a test (ostest_deadline.py); absent: no limit
OSTEST_ORIG_PYTHONPATH        what PYTHONPATH was before the runner changed it; absent: it was not set
OSTEST_ORIG_PYTEST_ADDOPTS    the same for PYTEST_ADDOPTS

What is said about a test has to be what pytest's own JUnit report says about it, word for word, because the runner
compares the two. Standard library only, Python 3.9 and later, pytest 7 and later.
"""

import json
import math
import os
import platform
import re
import socket
import stat

import ostest_start
import pytest
from ostest_called import Called
from ostest_diff import Diff
from ostest_report import Report, bound_capture
from ostest_temporary import Temporary
from ostest_told import Told, shown

VERSION = 1
# A message of a SOCK_SEQPACKET socket is sent in one piece or not at all, and the receiver's buffer has an end.
MESSAGE_LIMIT = 60000
# The words with which pytest's JUnit report describes a failed report of a test that was expected to fail.
XPASS_TEXT = "xfail-marked test passes unexpectedly"
SEVERITY = {"passed": 0, "skipped": 1, "failed": 2, "error": 3}
NOT_XML = re.compile("[^\u0009\u000a\u000d\u0020-\u007e\u0080-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(value):
    """The text as the JUnit report holds it after it was read back: nothing that XML cannot hold, line ends unified."""

    def visible(match):
        code = ord(match.group())
        return "#x%02X" % code if code <= 0xFF else "#x%04X" % code

    return NOT_XML.sub(visible, str(value)).replace("\r\n", "\n").replace("\r", "\n")


def cut(text, excess):
    """Leaves out at least `excess` characters in the middle of the text, and says so."""
    left_out = min(len(text), excess + 60)
    head = (len(text) - left_out) // 2
    note = "\n[... %d characters left out ...]\n" % left_out
    return text[:head] + note + text[head + left_out :]


def encode(message):
    """One message as bytes, its longest text cut until it fits."""
    while True:
        data = json.dumps(message, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        excess = len(data) - MESSAGE_LIMIT
        if excess <= 0:
            return data
        longest = max((key for key in message if isinstance(message[key], str)), key=lambda key: len(message[key]))
        # A character is one to six bytes of JSON. Assuming the average of this text ends after a few rounds and
        # leaves out little more than it must.
        text = message[longest]
        bytes_each = max(1.0, len(json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace")) / max(1, len(text)))
        message = dict(message, **{longest: cut(text, math.ceil(excess / bytes_each))})


class Channel:
    """The way to the runner. Sending never disturbs the suite: after an error it is over, silently.

    The runner sees a channel that broke off as what it is: tests without an end, which have not passed.
    """

    def __init__(self, fd):
        # A child that the suite forks must not speak for the tests.
        self.pid = os.getpid()
        self.fd = fd
        self.socket = None
        self.error = None
        try:
            os.set_inheritable(fd, False)
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                self.socket = socket.socket(fileno=fd)
                self.socket.setblocking(True)
            else:
                os.set_blocking(fd, True)
        except OSError as error:
            self.error = error

    def send(self, event, **fields):
        if self.fd is None or self.error is not None or os.getpid() != self.pid:
            return
        try:
            data = encode(dict({"event": event}, **fields))
            while data:
                # Without MSG_NOSIGNAL a suite that resets SIGPIPE would die of a runner that hung up.
                if self.socket is not None:
                    sent = self.socket.send(data, socket.MSG_NOSIGNAL)
                else:
                    sent = os.write(self.fd, data)
                data = data[sent:]
        except (OSError, ValueError, TypeError) as error:
            self.error = error

    def close_in_child(self):
        """After a fork the child gives the channel up; close-on-exec only covers programs that are started."""
        fd, self.fd = self.fd, None
        if self.socket is not None:
            self.socket.detach()
        close(fd)


def close(fd):
    try:
        if fd is not None:
            os.close(fd)
    except OSError:
        pass


def take_selection():
    """Takes the list of names out of the environment; None means all tests. What is wrong with it is raised later."""
    path = os.environ.pop("OSTEST_SELECT", "")
    if not path:
        return None, None
    try:
        with open(path, encoding="utf-8") as file:
            names = json.load(file)
    except (OSError, ValueError) as error:
        return None, "the list of selected tests in %s cannot be read: %s" % (path, error)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None, "the list of selected tests in %s has to be a JSON list of strings" % path
    # The same name twice is one wish.
    return list(dict.fromkeys(names)) or None, None


def take_deadline():
    """The limit of a single test, or None; and what is wrong with it."""
    text = os.environ.pop("OSTEST_TEST_TIMEOUT", "")
    if not text:
        return None, None
    try:
        # Not needed, and not there, where no limit is set.
        import ostest_deadline

        return ostest_deadline.Deadline(float(text)), None
    except (ImportError, OSError, ValueError) as error:
        return None, "the suite's test-timeout cannot be kept: %s" % error


def restore(name):
    """Gives a variable that the runner changed its old value again, for the programs that are started from here."""
    value = os.environ.pop("OSTEST_ORIG_" + name, None)
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def mangle(nodeid):
    """The parts of a test's name in the JUnit report: pytest's own rule where it can be had."""
    try:
        from _pytest.junitxml import mangle_test_address

        return mangle_test_address(nodeid)
    except ImportError:
        path, bracket, params = nodeid.partition("[")
        names = path.split("::")
        names[0] = re.sub(r"\.py$", "", names[0].replace("/", "."))
        names[-1] += bracket + params
        return names


def without_prefix(text, prefix):
    return text[len(prefix) :] if text.startswith(prefix) else text


def public_name(item):
    """`module::test[params]`, without a leading `tests.`."""
    names = mangle(item.nodeid)
    prefix = getattr(item.config.option, "junitprefix", None)
    classname = ".".join(([prefix] if prefix else []) + names[:-1])
    name = clean(names[-1])
    return without_prefix(clean(classname) + "::" + name, "tests.") if classname else name


def module_name(nodeid):
    """The name of a module, a class or a folder, of the same form."""
    names = [name for name in mangle(nodeid) if name not in ("", ".")]
    return without_prefix(clean("::".join([".".join(names[:-1]), names[-1]] if names[1:] else names)), "tests.") or "the suite"


def accepted_names(item):
    """Every name by which a task may select this test. Whole names only: `test1` must never select `test10`."""
    full = item.name
    base = getattr(item, "originalname", None) or (full.partition("[")[0] if full.endswith("]") else full)
    path = item.nodeid.partition("::")[0]
    classes = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
    dotted = re.sub(r"\.py$", "", path).replace("/", ".")
    file = path.rpartition("/")[2]
    modules = {dotted, without_prefix(dotted, "tests."), file, re.sub(r"\.py$", "", file), path}
    names = {item.nodeid, public_name(item)}
    for name in (base, full):
        names.add(name)
        inside = "::".join(classes + [name])
        names.update("%s::%s" % (module, inside) for module in modules)
        # `Outer::Inner::test` and `Inner::test`, and the class as JUnit writes it, behind a dot.
        for depth in range(len(classes)):
            names.add("::".join(classes[depth:] + [name]))
        if classes:
            names.update("%s::%s" % (".".join([module] + classes), name) for module in modules)
    return names


class Running:
    """What pytest has reported so far about the test that is running."""

    def __init__(self, index):
        self.index = index
        self.status = "passed"
        # It failed as the suite expects it to, which to pytest is skipped.
        self.expected = False
        self.texts = []
        self.sections = []
        self.duration = 0.0

    def add(self, report):
        duration = getattr(report, "duration", 0.0)
        if isinstance(duration, (int, float)) and math.isfinite(duration) and duration > 0:
            self.duration += duration
        status, text = describe(report)
        if SEVERITY[status] > SEVERITY[self.status]:
            self.status = status
            self.expected = status == "skipped" and hasattr(report, "wasxfail")
        if text:
            self.texts.append(text)
        # Each phase's report has those of the phases before it.
        if len(report.sections) >= len(self.sections):
            self.sections = report.sections
        return text


def describe(report):
    """Status and text of one phase's report, as `_NodeReporter` in pytest's junitxml.py writes them."""
    if report.failed:
        if report.when != "call":
            return "error", shown(report.longrepr)
        if hasattr(report, "wasxfail"):
            return "failed", XPASS_TEXT
        return "failed", shown(report.longrepr)
    if report.skipped:
        if hasattr(report, "wasxfail"):
            reason = shown(without_prefix(str(report.wasxfail), "reason: "))
            return "skipped", "expected failure: " + reason if reason else "expected failure"
        if isinstance(report.longrepr, tuple) and len(report.longrepr) == 3:
            path, line, reason = report.longrepr
            return "skipped", shown("%s:%s: %s" % (path, line, without_prefix(str(reason), "Skipped: ")))
        return "skipped", shown(report.longrepr)
    return "passed", ""


class Harness:
    """The hooks. One instance lives in the process that loaded the plugin, for the first session in it."""

    def __init__(self, channel, leaves, selection, broken):
        self.channel = channel
        self.leaves = leaves
        self.selection = selection
        self.broken = broken
        self.indices = {}
        self.uncounted = None
        self.current = None
        self.collect_errors = 0
        self.skipped = []
        self.told = Told()
        self.report = Report(lambda: self.current and self.current.index)

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config):
        # Running all tests instead of the named ones, or uncounted ones, would be a wrong verdict that looks right.
        if self.broken:
            raise pytest.UsageError(self.broken)
        # Tests that run in other processes, beside each other, have no order, and no memory of their own to measure.
        if getattr(config.option, "numprocesses", None) or getattr(config.option, "tx", None):
            raise pytest.UsageError("tests have to run one after the other here: take pytest-xdist's -n out of the options")
        bound_capture(config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session):
        # The report is there once all plugins are configured.
        self.report.watch(session.config)

    def pytest_collectreport(self, report):
        if report.failed:
            self.collect_errors += 1
            self.channel.send("collect-error", nodeid=clean(report.nodeid), text=clean(report.longrepr))
        elif report.skipped:
            self.skipped.append((clean(report.nodeid), describe(report)[1]))

    # Around all others: what the suite itself leaves out is known, and nothing is put back after the selection.
    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, config, items):
        before = list(items)
        outcome = yield
        if self.selection is None or outcome.excinfo is not None:
            return
        wanted = set(self.selection)
        kept, left_out, found = [], [], set()
        for item in items:
            names = wanted & accepted_names(item)
            found |= names
            (kept if names else left_out).append(item)
        offered = set()
        if wanted - found:
            for item in before:
                offered |= wanted & accepted_names(item)
        for name in self.selection:
            if name not in found:
                self.channel.send("unknown", test=clean(name), text=self.why_unknown(name in offered))
        items[:] = kept
        if left_out:
            config.hook.pytest_deselected(items=left_out)

    def why_unknown(self, offered):
        if offered:
            return "it exists, but the options with which the suite is run leave it out"
        if self.collect_errors:
            return "a part of the suite could not be collected"
        if self.skipped:
            return "skipped as a whole: " + "; ".join("%s, %s" % part for part in self.skipped[:10])
        return ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session):
        # A task that names its tests says itself what it is about; one of them that was in there is unknown.
        for nodeid, text in self.skipped if self.selection is None else ():
            self.channel.send("collect-skip", nodeid=nodeid, name=module_name(nodeid), text=text)
        for index, item in enumerate(session.items):
            self.indices[id(item)] = index
            self.channel.send("test", index=index, nodeid=clean(item.nodeid), name=public_name(item))
        self.channel.send("collected", count=len(session.items))

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item):
        index = self.indices.get(id(item))
        if index is None:
            yield
            return
        self.current = Running(index)
        self.uncounted = self.leaves and self.leaves.open("t%d" % index)
        self.channel.send("start", index=index)
        outcome = yield
        if self.leaves and not self.uncounted:
            self.leaves.close()
        running, self.current, self.uncounted = self.current, None, None
        # An exception here is pytest.exit() or an interrupt: the test has no end, and must not be given one.
        if outcome.excinfo is None:
            self.channel.send(
                "end",
                index=index,
                status=running.status,
                duration=round(running.duration, 6),
                text=self.text_of(running, item.config),
                **({"expected": True} if running.expected else {}),
            )

    def text_of(self, running, config):
        sections = running.sections if SEVERITY[running.status] > SEVERITY["skipped"] else []
        return self.told.whole(running.texts, sections, getattr(config.option, "showcapture", "all"))

    # Before fixtures are set up: without a leaf none of them runs, and nothing of the test. No wrapper, because pytest's own
    # wrappers need to have been there when the test is taken down.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self):
        if self.uncounted:
            pytest.fail(self.uncounted, pytrace=False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report):
        if self.current is not None:
            self.report.bound(report, self.current.add(report))

    # Around all others: the JUnit report is complete when the runner hears of the end.
    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session, exitstatus):
        self.report.finish()
        outcome = yield
        if outcome.excinfo is None:
            status = getattr(session, "exitstatus", exitstatus)
            self.channel.send("finish", exitstatus=int(status if isinstance(status, int) else exitstatus))


def load():
    taken, elsewhere = ostest_start.finish()
    if elsewhere:
        raise pytest.UsageError(
            "pytest has to run in the process that the suite's command starts: take `python -m pytest` as the command, or let "
            "its script call pytest.main() instead of starting pytest as a program"
        )
    if taken is None or taken.events is None:
        return []
    selection, broken = take_selection()
    deadline, unkept = take_deadline()
    restore("PYTHONPATH")
    restore("PYTEST_ADDOPTS")
    channel = Channel(taken.events)

    def after_fork():
        channel.close_in_child()
        # Once: in a child of this child the number is something else's.
        report, taken.report = taken.report, None
        close(report)

    os.register_at_fork(after_in_child=after_fork)
    channel.send(
        "hello",
        version=VERSION,
        pid=os.getpid(),
        python=platform.python_version(),
        pytest=clean(pytest.__version__),
        apart=taken.apart,
    )
    harness = Harness(channel, taken.leaves, selection, broken or unkept or taken.unfit)
    held = None
    if taken.notes:
        # Not needed, and not there, where nothing is held.
        from ostest_held import Held

        taken.notes.report_to(lambda kind, text: channel.send(kind, text=clean(text)))
        held = Held(taken)
    called = Called(lambda: harness.current and channel.send("ran", index=harness.current.index))
    return [plugin for plugin in (harness, deadline, Diff(), Temporary(), called, held, fixtures(taken.leaves)) if plugin is not None]


def fixtures(leaves):
    if leaves is None:
        return None
    # Not needed, and not there, where nothing is counted.
    import ostest_fixtures

    return ostest_fixtures.Fixtures(leaves)


_plugins = load()


# pytest takes the hooks of the module; the plugins proper are registered once, so that a pytest that a test runs in
# this same process finds a module without hooks.
def pytest_addoption(parser, pluginmanager):
    while _plugins:
        plugin = _plugins.pop(0)
        pluginmanager.register(plugin, "ostest-" + type(plugin).__name__.lower())
