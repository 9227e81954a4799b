"""Lets pytest read the suite's hidden files by paths that no student could have made, and by no other.

Hidden files are readable for a group (ostest_apart.py) that the harness does not have, but can take. It has it for the one call that
opens a hidden file by a trusted path (ostest_trust.py), in the thread that makes the call, and gives it back when `open` returns; where
it was not that function but a part of it (io.FileIO, an import), with the next thing that an audit hook sees of the thread. So a link of
a student's that leads to such a file is refused by the kernel, in whatever moment it is put there, and what opens files by itself (a C
library, ctypes) can open none of these. Python tells of each open before it makes it, in the same thread.

A working directory that was entered by a path that a student could have made makes no path below it trusted; nor does a
descriptor of a directory, of which nobody knows how it was opened.

Standard library only, Python 3.9 and later.
"""

import ctypes
import errno
import io
import os
import posix
import stat
import sys
import threading

import ostest_apart
import ostest_stand
from ostest_trust import is_trusted_place, walk

# setgroups of one thread: the C library's is for all threads.
SETGROUPS = {"x86_64": 116, "aarch64": 159}


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
        self.astray = False
        self.known = set()

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
        if event == "open" or event == "sqlite3.connect":
            self.hold(self.grants(args[0]))
        elif getattr(self.thread, "held", None) is not False:
            self.hold(False)
        if event == "os.chdir":
            self.follow(args[0])

    def grants(self, name):
        """Whether this is a hidden file by a trusted path. By another path it is refused."""
        __tracebackhide__ = True
        if isinstance(name, int) or name is None:
            return False
        try:
            path = os.fsdecode(name)
            found = os.stat(path)
        except (OSError, ValueError, TypeError):
            return False
        if found.st_gid != self.gid or not stat.S_ISREG(found.st_mode):
            return False
        astray = not path.startswith("/") and (self.astray or getattr(self.thread, "relative", False))
        key = path if path.startswith("/") else os.path.join(os.getcwd(), path)
        if not astray and (key in self.known or walk(path)[0]):
            self.known.add(key)
            return True
        text = "%s leads to a file that the suite hides, by a path that the submission could have made, and was not opened" % key
        self.notes.note("tampering", text)
        raise PermissionError(errno.EACCES, text, path)

    def follow(self, name):
        """The working directory changes."""
        if isinstance(name, int):
            self.astray = True
            return
        try:
            path = os.fsdecode(name)
        except (ValueError, TypeError):
            return
        if not path.startswith("/") and self.astray:
            return
        self.astray = not is_trusted_place(path)

    def io_open(self, real):
        def open(*given, **named):
            __tracebackhide__ = True
            try:
                return real(*given, **named)
            finally:
                self.hold(False)

        return open

    def os_open(self, real):
        def open(*given, **named):
            __tracebackhide__ = True
            self.thread.relative = named.get("dir_fd") is not None
            try:
                return real(*given, **named)
            finally:
                self.thread.relative = False
                self.hold(False)

        return open


def install(notes):
    hidden = Hidden(ostest_apart.group, notes)
    hidden.hold(False)
    sys.addaudithook(hidden.hook)
    ostest_stand.stand_in([(posix.open, hidden.os_open(posix.open)), (io.open, hidden.io_open(io.open))])
    return hidden
