"""Lets pytest be configured by the suite alone.

pytest looks for its ini file, its root directory and conftest.py in every folder that its command line names, the project's
among them (`--src DIR`), and for plugins in all that Python's path leads to. What a student could have written there
(ostest_trust.py) does not exist for it. It is noted where it would have had a word: a project may have a pytest.ini or a conftest.py for
its own tests, which is no offence.

One that a test runs in the same process is held as well, unless the suite loads what was made during the run (`imports = "anything"`).
pytest has to look for these things in the way that is known here: where it does not, nothing is run.

Standard library only, Python 3.9 and later, pytest 7 and later.
"""

import contextlib
import importlib.util
import os
import pathlib
import types

from ostest_guard import takes_a_place
from ostest_trust import is_trusted, is_trusted_place, lies_in, named

# Names that configure pytest whatever they hold, and those that do if there is a part for pytest in them.
OWN = ("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml")
SHARED = ("tox.ini", "setup.cfg", "pyproject.toml")
# Most bytes of such a file that are looked at.
GLANCE = 1 << 18


class Configuration:
    def __init__(self, notes, lenient):
        self.notes, self.lenient = notes, lenient
        self.held = False
        self.unfit = None
        self.config = None

    def hold(self, module):
        """Puts its functions into `_pytest.config`."""
        try:
            manager = module.PytestPluginManager
            determine, load_conftest = module.determine_setup, manager._importconftest
            load_plugin, entry_points = manager.import_plugin, manager.load_setuptools_entrypoints
        except AttributeError as error:
            self.unfit = "this pytest configures itself in a way that is not known (%s): use pytest 7 to 9" % error
            return
        usage_error, builtin = module.UsageError, module.builtin_plugins

        def determine_setup(*given, **more):
            if self.is_another(None):
                return determine(*given, **more)
            with self.only_trusted_files():
                found = determine(*given, **more)
            for path in found[1:2]:
                if path is not None and not is_trusted(str(path)):
                    raise usage_error("%s would configure pytest, and the submission could have written it" % named(str(path)))
            return found

        def import_conftest(manager, path, *given, **more):
            if self.is_another(manager) or is_trusted(str(path)):
                return load_conftest(manager, path, *given, **more)
            self.note(str(path))
            return types.ModuleType("conftest")

        def import_plugin(manager, name, *given, **more):
            place = None if name in builtin or self.is_another(manager) else untrusted_module(name)
            if place:
                shown = named(place)
                # Found in the submission, where the suite has Python look, or in the place of one of the suite's.
                if takes_a_place(place):
                    text = "%s was not loaded as a plugin of pytest, because the submission could have written it" % shown
                    self.notes.note("tampering", text)
                else:
                    self.notes.note("student-code", shown)
                raise usage_error("the plugin %s is found at %s, which the submission could have written" % (name, shown))
            return load_plugin(manager, name, *given, **more)

        def load_entry_points(manager, *given, **more):
            with self.only_trusted_distributions():
                return entry_points(manager, *given, **more)

        module.determine_setup = determine_setup
        manager._importconftest = import_conftest
        manager.import_plugin = import_plugin
        manager.load_setuptools_entrypoints = load_entry_points
        self.held = True

    def is_another(self, manager):
        """Whether this is a pytest inside the one that is held, of a suite that loads what was made during the run."""
        return self.lenient and self.config is not None and manager is not self.config.pluginmanager

    def note(self, path):
        """Of a file that was not read. Where only a program that is running can have put it, it is more than a remark."""
        text = "%s was not read: pytest is configured by the suite alone" % named(path)
        own = lies_in(path, os.environ.get("OSTEST_PROJECT"))
        self.notes.note("remark" if own else "tampering", text)

    @contextlib.contextmanager
    def only_trusted_files(self):
        is_file = pathlib.Path.is_file

        def is_trusted_file(path, *given, **more):
            if not is_file(path, *given, **more):
                return False
            if is_trusted(str(path)):
                return True
            if path.name in OWN or (path.name in SHARED and speaks_of_pytest(path)):
                self.note(str(path))
            return False

        pathlib.Path.is_file = is_trusted_file
        try:
            yield
        finally:
            pathlib.Path.is_file = is_file

    @contextlib.contextmanager
    def only_trusted_distributions(self):
        import importlib.metadata

        real = importlib.metadata.distributions

        def distributions(*given, **more):
            for found in real(*given, **more):
                place = getattr(found, "_path", None)
                if place is None or is_trusted_place(str(place)):
                    yield found
                elif any(point.group == "pytest11" for point in found.entry_points):
                    self.note(str(place))

        importlib.metadata.distributions = distributions
        try:
            yield
        finally:
            importlib.metadata.distributions = real

    def look(self, config):
        """What is wrong with the configuration that pytest has come to, or None."""
        if self.unfit or not self.held:
            return self.unfit or "pytest was loaded before the harness, so what configures it cannot be known"
        paths = [getattr(config, "inipath", None)]
        for _, plugin in config.pluginmanager.list_name_plugin():
            if isinstance(plugin, types.ModuleType) and os.path.basename(getattr(plugin, "__file__", None) or "") == "conftest.py":
                paths.append(plugin.__file__)
        for path in paths:
            if path is not None and not is_trusted(str(path)):
                return "%s configures pytest, and the submission could have written it" % named(str(path))
        return None


def speaks_of_pytest(path):
    """Whether a file of tools' settings has a word for pytest. It may be a pipe by now, or too large."""
    try:
        fd = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return b"pytest" in os.read(fd, GLANCE)
        finally:
            os.close(fd)
    except OSError:
        return False


def untrusted_module(name):
    """Where the module of this name would come from, if a student could have written it."""
    try:
        spec = importlib.util.find_spec(name.partition(".")[0])
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None:
        return None
    places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
    for place in places:
        if isinstance(place, str) and not is_trusted_place(place):
            return place
    return None
