"""Takes over what the runner handed in, before a line of the suite has run: first of all things, in the first interpreter.

`begin` is called by sitecustomize.py, so that not even what a suite's own starter does before pytest begins finds a
descriptor, a way past the gate, or the harness in its reach. The plugin takes from here what it needs. From the environment:

OSTEST_EVENTS_FD    a socket for what the plugin says
OSTEST_REPORT_FD    the memory file that takes the JUnit report; only made close-on-exec here
OSTEST_APART        the ids that set the harness apart (ostest_apart.py); absent: it is not
OSTEST_GATE, OSTEST_SPAWN, OSTEST_GATE_FD, OSTEST_LEAVES_FD
                    how memory is counted for each test (ostest_gate.py); absent: it is not
OSTEST_GUARD        `held`: what a student could have written is not loaded, and configures nothing (ostest_guard.py,
                    ostest_config.py); then what may be loaded all the same, `modules` and `libraries`, each behind a comma

All of them are gone afterwards; OSTEST_BEGUN is there until the plugin has begun. Standard library only, Python 3.9 and later.
"""

import os
import sys

# What was handed in; none in an interpreter that was handed nothing.
taken = None


class Taken:
    """Descriptors of events and report, the leaves, the guard, and what is wrong, to be raised when pytest can say it."""

    def __init__(self):
        self.apart = False
        self.events, self.report = take_fd("OSTEST_EVENTS_FD"), take_fd("OSTEST_REPORT_FD")
        self.leaves, self.unfit, self.guard = None, None, None
        self.notes, self.configuration, self.tools = None, None, None
        for fd in (self.events, self.report):
            # What is wrong with one shows when it is used: the runner gets nothing, or pytest cannot write.
            try:
                os.set_inheritable(fd, False)
            except (OSError, TypeError):
                pass
        if "OSTEST_APART" in os.environ:
            import ostest_apart

            ostest_apart.begin()
            self.apart = True
        self.install_gate()
        held = os.environ.pop("OSTEST_GUARD", "")
        if held:
            self.install_guards(held.split(","))

    def install_guards(self, allowed):
        import ostest_config
        import ostest_guard
        import ostest_made
        import ostest_tools
        import ostest_tracing
        from ostest_imported import Imported
        from ostest_notes import Notes

        self.notes, imported = Notes(), Imported()
        self.guard = ostest_guard.install(self.notes, imported, allowed)
        self.configuration = ostest_config.Configuration(self.notes, "modules" in allowed)
        imported.after("_pytest.config", self.configuration.hold)
        made = ostest_made.Made(self.notes, os.getcwd())
        self.tools = ostest_tools.Tools(self.notes, made)
        for hook in (made.hook, self.tools.hook):
            sys.addaudithook(hook)
        ostest_tracing.install()
        if self.apart:
            import ostest_hidden

            ostest_hidden.install(self.notes, imported)
            if self.leaves is not None:
                import ostest_multi

                ostest_multi.install(imported, self.leaves.gate, allowed, self.notes.writer)

    def install_gate(self):
        program, library = os.environ.pop("OSTEST_GATE", ""), os.environ.pop("OSTEST_SPAWN", "")
        gate, leaves = take_fd("OSTEST_GATE_FD"), take_fd("OSTEST_LEAVES_FD")
        if not program:
            return
        # Not needed, and not there, where nothing is counted.
        import ostest_gate

        try:
            self.leaves = ostest_gate.install(program, gate, leaves, library)
        except ostest_gate.Unfit as error:
            # What a suite's starter starts before pytest says this would be the harness's user, and not the student.
            if self.apart:
                raise
            self.unfit = str(error)


def take_fd(name):
    """Takes a descriptor's number out of the environment."""
    value = os.environ.pop(name, "")
    return int(value) if value.isdigit() else None


def begin():
    global taken
    taken = Taken()
    os.environ["OSTEST_BEGUN"] = str(os.getpid())


def finish():
    """For the plugin: what was taken, once, and None where there is nothing; and whether that was in another process."""
    global taken
    begun, mine = os.environ.pop("OSTEST_BEGUN", None), taken
    taken = None
    return mine, mine is None and begun is not None
