"""Lets nothing be loaded into the harness that a student could have written.

A suite's folder is in Python's path, ahead of the standard library, and is writable for all; so is whatever else a suite
puts there. A program that writes a `json.py` into it would run in pytest with the next late `import json`. What was read is
looked at when it is about to be executed, whoever has read it: importlib, pytest's own loader, runpy or the suite; a library when it
is about to be linked, by ctypes or cffi. It has to be trusted (ostest_trust.py).

What a suite may allow in its ostest.toml is loaded, and noted: modules that were made during the run, or student code of any kind.
A forked child becomes the student before.

Audit hooks can be neither removed nor passed by. Standard library only, Python 3.9 and later.
"""

import errno
import os
import sys

import ostest_apart
from ostest_trust import is_trusted, lies_in

WHY = (
    "code of the submission's that runs inside pytest answers for itself, and can pass every test; let it run in a process of its own: a small "
    "program of the suite's that is started, asked, and has to give back a word that nobody can know before"
)
SWITCH = "a suite that has to load it all the same says load-student-code = true under [test] in its ostest.toml"


class Guard:
    """The hook. What may not be loaded is refused, what may is noted."""

    def __init__(self, notes, modules, libraries):
        self.notes = notes
        self.pid = os.getpid()
        # Whether these are let in whoever may have written them.
        self.modules, self.libraries = modules, libraries
        self.known = set()
        self.mapped = {}

    def hook(self, event, args):
        __tracebackhide__ = True
        if event == "exec":
            name = getattr(args[0], "co_filename", None)
        elif event == "import":
            # Where a file is named it is an extension module that is to be loaded.
            name = args[1] if len(args) > 1 else None
        elif event == "open":
            # Byte code without a source names itself what it likes. Lines of a .pth are executed one by one, without a name.
            name = args[0] if isinstance(args[0], str) and args[0].endswith((".pyc", ".pth")) else None
        elif event == "ctypes.dlopen":
            self.link(args[0])
            return
        else:
            return
        if not isinstance(name, str) or name.startswith("<"):
            return
        path = os.path.abspath(name)
        if path in self.known:
            return
        if not os.path.isabs(name) and not os.path.lexists(path):
            # A name that somebody made up for code that lies in no file: importlib's are absolute.
            return
        if event == "open" and not os.path.lexists(path):
            return
        if is_trusted(name):
            self.known.add(path)
            return
        # A .pth is no module that a suite asks for by its name: it lies there, and is obeyed.
        if self.libraries if name.endswith(".pth") else self.modules:
            self.let_in(path)
            return
        text = "%s was not loaded, because the submission could have written it" % path
        own = lies_in(path, os.environ.get("OSTEST_PROJECT"))
        self.notes.note("tampering", "%s: %s; %s" % (text, WHY, SWITCH) if own else text)
        if name.endswith(".pth"):
            # Whoever reads them goes on after this, as with one that nobody may read.
            raise PermissionError(errno.EACCES, text, path)
        raise ImportError(text)

    def link(self, name):
        """Before a library is linked: by its name, if the linker is not to look for it where no student can write."""
        __tracebackhide__ = True
        if isinstance(name, bytes):
            name = os.fsdecode(name)
        if not isinstance(name, str) or "/" not in name or is_trusted(name):
            return
        path = os.path.abspath(name)
        if self.libraries:
            self.let_in(path)
            return
        text = "%s was not loaded into pytest, because the submission could have written it" % path
        self.notes.note("student-code", path)
        raise OSError("%s: %s; %s" % (text, WHY, SWITCH))

    def let_in(self, path):
        """Notes that student code comes in. A child that loads it is from then on a student's process as any other."""
        if os.getpid() != self.pid:
            self.notes.note("loaded", "%s, which the submission could have written, was loaded into a process that pytest forked" % path)
            ostest_apart.give_up()
            return
        self.notes.note(
            "loaded",
            "%s was loaded into pytest, and the submission could have written it: what it passes it may have passed by itself" % path,
        )

    def hook_cffi(self, backend):
        """cffi links libraries without an audit event."""
        load = backend.load_library

        def load_library(*given, **named):
            __tracebackhide__ = True
            self.link(given[0] if given else None)
            return load(*given, **named)

        backend.load_library = load_library
        kind = getattr(backend, "FFI", None)
        method = getattr(kind, "dlopen", None)
        if method is None:
            return

        def dlopen(ffi, *given, **named):
            __tracebackhide__ = True
            self.link(given[0] if given else None)
            return method(ffi, *given, **named)

        set_method(kind, "dlopen", dlopen)

    def look_at_maps(self):
        """Finds what came in by ways that no hook sees: a C extension that links a library. What is mapped is looked at once."""
        try:
            with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
                lines = file.read().splitlines()
        except OSError:
            return
        for line in lines:
            parts = line.split(None, 5)
            if len(parts) < 6 or "x" not in parts[1] or not parts[5].startswith("/"):
                continue
            path = parts[5]
            if (path, parts[4]) in self.mapped:
                continue
            gone = path.endswith(" (deleted)")
            # libffi makes code in files without a name.
            fine = path.startswith("/memfd:") or (gone and os.path.basename(path).startswith("ffi")) if gone else is_trusted(path)
            self.mapped[path, parts[4]] = fine
            if fine:
                continue
            if self.libraries or self.modules:
                self.let_in(path)
            else:
                self.notes.note("student-code", path)


def set_method(kind, name, function):
    """Puts a method into a class of C's, which Python itself does not let anybody change."""
    import ctypes
    import gc

    for names in gc.get_referents(kind.__dict__):
        if isinstance(names, dict):
            names[name] = function
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def install(notes, imported, allowed):
    """`allowed`: words, `modules` and `libraries`."""
    guard = Guard(notes, "modules" in allowed, "libraries" in allowed)
    sys.addaudithook(guard.hook)
    imported.after("_cffi_backend", guard.hook_cffi)
    return guard
