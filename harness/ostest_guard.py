"""Lets nothing be loaded into the harness that a student could have written.

A suite's folder is in Python's path, ahead of the standard library, and is writable for all; so is whatever else a suite
puts there. A program that writes a `json.py` into it would run in pytest with the next late `import json`. What was read is
looked at when it is about to be executed, whoever has read it: importlib, pytest's own loader, runpy or the suite; a library when it
is about to be linked, by ctypes or cffi. It has to be trusted (ostest_trust.py).

What was refused is told by whose doing it is. A module in the place of another one, which Python would find without it, is a submission's
(`tampering`). One that only lies there the suite has asked for: the submission's own (`student-code`), or one that was made during the run
(`made`). What a suite may allow in its ostest.toml is loaded, and noted. A forked child becomes the student before.

A child of multiprocessing is held in the same way (ostest_multi.py, which sends it this text).

Audit hooks can be neither removed nor passed by. Standard library only, Python 3.9 and later.
"""

import errno
import importlib.machinery
import os
import sys

from ostest_trust import is_trusted, is_trusted_place, lies_in, named

WHY = (
    "code of the submission's that runs inside pytest answers for itself, and can pass every test; let it run in a process of its own: a small "
    "program of the suite's that is started, asked, and has to give back a word that nobody can know before"
)
SWITCH = "a suite that has to load it all the same says load-student-code = true under [test] in its ostest.toml"
MADE = 'a suite that has modules made while it runs says imports = "anything" under [test] in its ostest.toml'


class Guard:
    """The hook. What may not be loaded is refused, what may is noted."""

    def __init__(self, notes, modules, libraries, pid, give_up):
        self.notes = notes
        # Pytest's own, and how a child of it becomes the student.
        self.pid, self.give_up = pid, give_up
        # Whether these are let in whoever may have written them.
        self.modules, self.libraries = modules, libraries
        self.known = set()
        self.mapped = {}
        self.unloaded = None

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
        text = "%s was not loaded, because the submission could have written it" % named(path)
        kind = self.whose(path)
        self.notes.note(kind, text if kind == "tampering" else named(path))
        if kind != "tampering":
            text = "%s; %s" % (text, MADE) if kind == "made" else "%s: %s; %s" % (text, WHY, SWITCH)
        if name.endswith(".pth"):
            # Whoever reads them goes on after this, as with one that nobody may read.
            raise PermissionError(errno.EACCES, text, path)
        raise ImportError(text)

    def whose(self, path):
        """Whose doing it is that this would be loaded. Python finds nothing by its name but where the suite has it look."""
        if path.endswith(".pth") or takes_a_place(path):
            return "tampering"
        return "student-code" if lies_in(path, os.environ.get("OSTEST_PROJECT")) else "made"

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
        text = "%s was not loaded into pytest, because the submission could have written it" % named(path)
        self.notes.note("student-code", named(path))
        raise OSError("%s: %s; %s" % (text, WHY, SWITCH))

    def let_in(self, path):
        """Notes that student code comes in. A child that loads it is from then on a student's process as any other."""
        if os.getpid() != self.pid:
            text = "%s, which the submission could have written, was loaded into a process that pytest forked" % named(path)
            self.notes.note("loaded", text)
            self.give_up()
            return
        self.notes.note(
            "loaded",
            "%s was loaded into pytest, and the submission could have written it: what it passes it may have passed by itself" % named(path),
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
        if self.unloaded is not None:
            self.unloaded.look_again()
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
                self.notes.note("student-code", named(path))


def takes_a_place(path):
    """Whether Python would find another module of this name, which nobody but root could have put there."""
    folder, file = os.path.split(path)
    if file.startswith("__init__."):
        # It makes a package of a folder that the suite has shipped as none.
        if is_trusted_place(folder):
            return True
        folder, file = os.path.split(folder)
    name = file.partition(".")[0]
    ends = [*importlib.machinery.all_suffixes(), "/__init__.py"]
    for place in {folder, *(place for place in sys.path if isinstance(place, str))}:
        for end in ends:
            other = os.path.join(place, name + end)
            if other != path and os.path.isfile(other) and is_trusted(other):
                return True
    return False


def set_method(kind, name, function):
    """Puts a method into a class of C's, which Python itself does not let anybody change."""
    import ctypes
    import gc

    for names in gc.get_referents(kind.__dict__):
        if isinstance(names, dict):
            names[name] = function
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


class Unloaded:
    """Sees that libraries were unloaded again, which leaves nothing that could be looked at. Python unloads none by itself."""

    def __init__(self, notes):
        import ctypes

        self.notes, self.count = notes, 0
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
        self.see = kind(self.seen)
        # `dlpi_subs` of struct dl_phdr_info: how many have gone since the start, all in all.
        self.at = ctypes.c_ulonglong.from_address
        self.walk = ctypes.CDLL(None).dl_iterate_phdr
        self.gone = self.look()

    def seen(self, info, size, _):
        # The same in each of them: the first is enough.
        self.count = self.at(info + 40).value if size >= 48 else 0
        return 1

    def look(self):
        self.walk(self.see, None)
        return self.count

    def look_again(self):
        before, self.gone = self.gone, self.look()
        if self.gone > before:
            self.notes.note(
                "remark",
                "a library was loaded into pytest and unloaded again, and nobody saw which: one of the submission's would have passed "
                "tests by itself",
            )


class Writer:
    """What a child of multiprocessing has to say, through the pipe that it was given (ostest_notes.py)."""

    def __init__(self, fd):
        self.fd, self.seen = fd, set()
        try:
            os.set_inheritable(fd, False)
        except OSError:
            pass

    def note(self, kind, text):
        import json

        if (kind, text) not in self.seen:
            self.seen.add((kind, text))
            try:
                os.write(self.fd, json.dumps([kind, text[:1000]]).encode() + b"\n")
            except OSError:
                pass


def install_in_child(writer, known, allowed):
    import ostest_tracing
    from ostest_imported import Imported

    # No process is pytest here, and none has more than a student.
    guard = Guard(Writer(writer), "modules" in allowed, "libraries" in allowed, 0, lambda: None)
    guard.known.update(known)
    sys.addaudithook(guard.hook)
    ostest_tracing.install()
    Imported().after("_cffi_backend", guard.hook_cffi)


def install(notes, imported, allowed):
    """`allowed`: words, `modules` and `libraries`."""
    import ostest_apart

    guard = Guard(notes, "modules" in allowed, "libraries" in allowed, os.getpid(), ostest_apart.give_up)
    guard.unloaded = Unloaded(notes)
    sys.addaudithook(guard.hook)
    imported.after("_cffi_backend", guard.hook_cffi)
    return guard
