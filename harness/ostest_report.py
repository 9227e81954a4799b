"""pytest's JUnit report: which test each of its cases speaks of, and how long it may be.

A suite may give a case any name (`record_xml_attribute("name", …)`), give two the same, or change what pytest calls a test. The
runner holds the report against what was said while the tests ran, so each case gets the test's number, at the very end, when
nothing of the suite's runs any more.

What a program writes is in the report where the suite logs into it, and in pytest's memory in any case; one that writes without
end must not break the report, nor pytest. Standard library only, Python 3.9 and later.
"""

import os

from ostest_told import Budget

# The attribute that has the number.
NUMBER = "ostest"
# Characters of one text in the report, and of all of them together; what is read of a report ends at 64 MiB.
TEXT = 200000
TOGETHER = 12 << 20
LEAST = 400
# Bytes of one captured stream that pytest reads into its memory: both ends are.
CAPTURED = 4 << 20


class Report:
    """Watches over pytest's report. `current` says which test is running."""

    def __init__(self, current):
        self.current = current
        self.owners = {}
        self.logs = False
        self.budget = Budget(TOGETHER, LEAST, part=8)

    def watch(self, config):
        """Notes which test's each case is, from here on."""
        xml = log_of(config)
        if xml is None:
            return
        self.logs = getattr(xml, "logging", "no") != "no"
        original = xml.node_reporter

        def node_reporter(report):
            case, number = original(report), self.current()
            if number is not None:
                # The case itself is kept, so that its identity is nobody else's.
                self.owners.setdefault(id(case), (case, number))
            return case

        xml.node_reporter = node_reporter

    def finish(self):
        """Writes the numbers, over whatever stands there."""
        for case, number in self.owners.values():
            # One that is through has nothing left but its element.
            attributes = getattr(case, "attrs", None)
            if isinstance(attributes, dict):
                attributes[NUMBER] = str(number)
            else:
                case.to_xml().set(NUMBER, str(number))
        self.owners = {}

    def bound(self, report, text):
        """Cuts what a report of one phase holds, before anybody writes it down. `text` is what it says, as a text."""
        if len(text) > TEXT and report.failed:
            report.longrepr = self.budget.take(text, TEXT)
        elif len(text) > TEXT and isinstance(report.longrepr, tuple):
            report.longrepr = tuple(self.budget.take(part, TEXT) if isinstance(part, str) else part for part in report.longrepr)
        if self.logs:
            report.sections = [(name, self.budget.take(part, TEXT)) for name, part in report.sections]
        properties = getattr(report, "user_properties", None)
        if isinstance(properties, list):
            report.user_properties = [
                (name, self.budget.take(value, TEXT) if isinstance(value, str) else value) for name, value in properties
            ]


def log_of(config):
    try:
        from _pytest.junitxml import xml_key

        return config.stash.get(xml_key, None)
    except (ImportError, AttributeError):
        return None


def bound_capture(config):
    """Has pytest read no more of a captured stream than its two ends, where it is long.

    Only of what it captures by itself: what a test asks for with `capfd` is the suite's to judge, whole.
    """
    manager = config.pluginmanager.getplugin("capturemanager")
    streams = getattr(manager, "_global_capturing", None)
    for stream in (getattr(streams, "out", None), getattr(streams, "err", None)):
        if hasattr(stream, "tmpfile") and hasattr(stream, "snap"):
            stream.snap = bounded(stream, stream.snap)


def bounded(stream, original):
    def snap():
        file = stream.tmpfile
        try:
            fd = file.fileno()
            size = os.fstat(fd).st_size
            if size <= CAPTURED:
                return original()
            head, tail = os.pread(fd, CAPTURED // 2, 0), os.pread(fd, CAPTURED // 2, size - CAPTURED // 2)
        except (OSError, ValueError, AttributeError):
            return original()
        file.seek(0)
        file.truncate()
        note = "\n[... %d bytes left out ...]\n" % (size - len(head) - len(tail))
        return head.decode("utf-8", "replace") + note + tail.decode("utf-8", "replace")

    return snap
