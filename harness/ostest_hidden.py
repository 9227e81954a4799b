"""Lets pytest read the suite's hidden files by paths that no student could have made, and by no other.

Hidden files are readable for a group (ostest_apart.py) that the harness does not have, but can take. It has it for the one call that
opens a hidden file by a trusted path (ostest_trust.py), in the thread that makes the call, and gives it back when `open` returns; where
it was not that function but a part of it (io.FileIO, an import), with the next thing that an audit hook sees of the thread. So a link of
a student's that leads to such a file is refused by the kernel, in whatever moment it is put there, and what opens files by itself (a C
library, ctypes) can open none of these. Python tells of each open before it makes it, in the same thread.

A working directory that was entered by a path that a student could have made makes no path below it trusted; nor does a
descriptor of a directory, unless it was opened here by a trusted path (os.open, then os.fchdir).

filecmp compares files by their size and time where it can, and opens none: a link to the expected file would be the same as that. So what
is hidden is compared by what it holds.

Whoever opens a pipe by its name waits for the other end. It is said which, should the run end with that.

Standard library only, Python 3.9 and later.
"""

import ctypes
import errno
import functools
import io
import os
import posix
import stat
import sys
import threading

import ostest_apart
import ostest_stand
from ostest_trust import is_trusted_place, named, walk

# setgroups of one thread: the C library's is for all threads.
SETGROUPS = {"x86_64": 116, "aarch64": 159}


class Refused(PermissionError):
    """A hidden file, by a path that a student could have made."""

    def __reduce__(self):
        return PermissionError, (self.errno, self.strerror, self.filename)


# What a suite prints of it is what Python has for the like.
Refused.__name__ = Refused.__qualname__ = "PermissionError"
Refused.__module__ = "builtins"


class Hidden:
    def __init__(self, gid, notes):
        self.gid, self.notes = gid, notes
        self.number = SETGROUPS.get(os.uname().machine)
        if self.number is None:
            raise ostest_apart.Reachable("the calls of a %s are not known" % os.uname().machine)
        # With the interpreter's lock held: between the call and the opening nothing else of Python's is to run.
        self.call = ctypes.PyDLL(None).syscall
        self.call.argtypes = [ctypes.c_long, ctypes.c_size_t, ctypes.c_void_p]
        self.call.restype = ctypes.c_long
        self.group = (ctypes.c_uint32 * 1)(gid)
        self.thread = threading.local()
        # Why nothing is known of the working directory, or None.
        self.astray = None
        self.known = set()
        # Descriptors of folders that were opened by trusted paths, with device and inode.
        self.folders = {}

    def hold(self, wanted):
        """Takes the group, or gives it back. Of a thread that is new nobody knows what it came with."""
        if ostest_apart.given_up or getattr(self.thread, "held", None) is wanted:
            return
        done = self.call(self.number, 1 if wanted else 0, ctypes.addressof(self.group) if wanted else None) == 0
        if not done and not wanted:
            os.write(2, b"the harness could not give back the group that reads hidden files\n")
            os._exit(70)
        self.thread.held = wanted and done

    def hook(self, event, args):
        __tracebackhide__ = True
        if getattr(self.thread, "pipe", False):
            self.thread.pipe = False
            self.notes.now("pipe", "")
        if event == "open" or event == "sqlite3.connect":
            self.hold(self.grants(args[0], args[2] if len(args) > 2 else 0))
        elif getattr(self.thread, "held", None) is not False:
            self.hold(False)
        if event == "os.chdir":
            self.follow(args[0])

    def grants(self, name, flags):
        """Whether this is a hidden file by a trusted path. By another path it is refused."""
        __tracebackhide__ = True
        if isinstance(name, int) or name is None:
            return False
        try:
            path = os.fsdecode(name)
            folder = None if path.startswith("/") else getattr(self.thread, "folder", None)
            found = os.stat(path, dir_fd=folder)
        except (OSError, ValueError, TypeError):
            return False
        if stat.S_ISFIFO(found.st_mode) and isinstance(flags, int) and not flags & (os.O_RDWR | os.O_NONBLOCK):
            self.thread.pipe = True
            self.notes.now("pipe", named(path))
        if found.st_gid != self.gid or not stat.S_ISREG(found.st_mode):
            return False
        astray = None if path.startswith("/") else "descriptor" if folder is not None else self.astray
        base = os.getcwd() if folder is None else os.readlink("/proc/self/fd/%d" % folder)
        key = os.path.join(base, path)
        if not astray and (key in self.known or walk(path)[0]):
            self.known.add(key)
            return True
        if astray == "descriptor":
            text = "%s leads to a file that the suite hides, by a descriptor of a folder of which is not known how it was opened, and was not opened"
        else:
            text = "%s leads to a file that the suite hides, by a path that the submission could have made, and was not opened"
        text %= named(key)
        # The suite has the descriptor.
        self.notes.note("remark" if astray == "descriptor" else "tampering", text)
        raise Refused(errno.EACCES, text, path)

    def follow(self, name):
        """The working directory changes."""
        if isinstance(name, int):
            self.astray = None if self.folders.get(name, False) == identity(name) else "descriptor"
            return
        try:
            path = os.fsdecode(name)
        except (ValueError, TypeError):
            return
        if not path.startswith("/") and self.astray:
            return
        self.astray = None if is_trusted_place(path) else "path"

    def chdir(self, real):
        def change(*given, **named):
            __tracebackhide__ = True
            before = self.astray
            try:
                return real(*given, **named)
            except BaseException:
                # It has not changed.
                self.astray = before
                raise

        return change

    def io_open(self, real):
        def open(*given, **named):
            __tracebackhide__ = True
            try:
                return real(*given, **named)
            finally:
                self.end()

        return open

    def os_open(self, real):
        def open(*given, **named):
            __tracebackhide__ = True
            folder = self.thread.folder = named.get("dir_fd")
            try:
                fd = real(*given, **named)
            finally:
                self.thread.folder = None
                self.end()
            self.folders.pop(fd, None)
            if folder is None:
                self.remember(fd, given[0] if given else named.get("path"))
            return fd

        return open

    def end(self):
        """What was to be opened has been, or not."""
        self.hold(False)
        if getattr(self.thread, "pipe", False):
            self.thread.pipe = False
            self.notes.now("pipe", "")

    def remember(self, fd, name):
        """Whether a descriptor is of a folder that was opened by a trusted path. What was found trusted stays so."""
        found = identity(fd)
        if found is None:
            return
        try:
            path = os.fsdecode(name)
        except (ValueError, TypeError):
            return
        if (path.startswith("/") or not self.astray) and is_trusted_place(path):
            self.folders[fd] = found

    def follow_filecmp(self, module):
        """Has what is hidden compared by what it holds."""
        real = module.cmp

        @functools.wraps(real)
        def cmp(f1, f2, shallow=True):
            __tracebackhide__ = True
            if shallow and (self.hides(f1) or self.hides(f2)):
                # What was found of files of the same size and time is kept there.
                module.clear_cache()
                shallow = False
            return real(f1, f2, shallow)

        def cmp_in_folders(f1, f2, shallow=True):
            try:
                return cmp(f1, f2, shallow)
            except Refused:
                # Not among what is "funny", where a suite does not look.
                return False

        module.cmp = cmp
        compare = getattr(module, "_cmp", None)
        if compare is not None and compare.__defaults__:
            compare.__defaults__ = tuple(cmp_in_folders if value is real else value for value in compare.__defaults__)

    def hides(self, name):
        try:
            return os.stat(name).st_gid == self.gid
        except (OSError, ValueError, TypeError):
            return False


def identity(fd):
    """Device and inode of a folder; None for anything else."""
    try:
        found = os.fstat(fd)
    except (OSError, OverflowError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def install(notes, imported):
    hidden = Hidden(ostest_apart.group, notes)
    hidden.hold(False)
    sys.addaudithook(hidden.hook)
    ostest_stand.stand_in(
        [
            (posix.open, hidden.os_open(posix.open)),
            (io.open, hidden.io_open(io.open)),
            (posix.chdir, hidden.chdir(posix.chdir)),
            (posix.fchdir, hidden.chdir(posix.fchdir)),
        ]
    )
    imported.after("filecmp", hidden.follow_filecmp)
    return hidden
