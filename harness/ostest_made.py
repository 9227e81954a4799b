"""Says which files in the suite's folder pytest itself has made, and of what.

Whoever looks from outside sees names that come and not whose they are: what pytest makes belongs to the student, as everything does that
is made inside. A suite that copies a student's `sched.h` beside its own sources, or writes a Makefile, has done so itself. Python tells of
each before it is done.

Standard library only, Python 3.9 and later.
"""

import os

from ostest_trust import is_trusted

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# Most files that are kept in mind.
MOST = 50000


class Made:
    def __init__(self, notes, top):
        self.pid = os.getpid()
        self.notes, self.top = notes, os.path.realpath(top)
        # By path: whether it holds what a student could have written.
        self.known = {}

    def hook(self, event, args):
        if event == "open":
            if len(args) > 2 and isinstance(args[2], int) and args[2] & WRITES:
                self.came(args[0])
        elif event == "shutil.copyfile" or event == "os.rename" or event == "os.link":
            self.came(args[1], args[0])
        elif event == "os.symlink":
            self.linked(args[0], args[1])

    def linked(self, target, name):
        try:
            folder = os.path.dirname(os.path.join(os.getcwd(), os.fsdecode(name)))
            self.came(name, os.path.join(folder, os.fsdecode(target)))
        except (OSError, ValueError, TypeError):
            pass

    def came(self, name, source=None):
        if os.getpid() != self.pid or isinstance(name, int):
            return
        try:
            path = os.path.abspath(os.fsdecode(name))
            if source is None:
                # What it copies into the file is known already.
                copied = self.known.get(path, False)
            else:
                copied = not self.is_own(os.path.abspath(os.fsdecode(source)))
        except (OSError, ValueError, TypeError):
            return
        if path not in self.known and len(self.known) >= MOST:
            return
        self.known[path] = copied
        if path.startswith(self.top + "/"):
            self.notes.note("copied" if copied else "written", path[len(self.top) + 1 :])

    def is_own(self, path):
        """Whether it holds what the suite, or pytest, has written."""
        return self.known.get(path) is False or is_trusted(path)

    def wrote(self, path):
        """Whether pytest has made this file of its own or of the suite's."""
        return self.known.get(path) is False
