"""Lets nothing be loaded into the harness that a student could have written.

A suite's folder is in Python's path, ahead of the standard library, and is writable for all; so is whatever else a suite
puts there. A program that writes a `json.py` into it would run in pytest with the next late `import json`. What was read is
looked at when it is about to be executed, whoever has read it: importlib, pytest's own loader, runpy or the suite. It has to lie on
a read-only file system, or to belong to root with every folder above it: what belongs to root nobody inside can make,
change, or put in the place of something else. A suite that wants to load what was made during the run says so in its ostest.toml.

Audit hooks can be neither removed nor passed by. Standard library only, Python 3.9 and later.
"""

import os
import stat
import sys


class Guard:
    """The hook. Whom `tell` names is told of what was refused; until there is one it waits in `refused`."""

    def __init__(self):
        self.tell = None
        self.refused = []
        self.known = set()

    def hook(self, event, args):
        if event == "exec":
            name = getattr(args[0], "co_filename", None)
        elif event == "import":
            # Where a file is named it is an extension module that is to be loaded.
            name = args[1] if len(args) > 1 else None
        elif event == "open":
            # Byte code without a source names itself what it likes.
            name = args[0] if isinstance(args[0], str) and args[0].endswith(".pyc") else None
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
        if is_trusted(path):
            self.known.add(path)
            return
        text = "%s was not loaded, because the submission could have written it" % path
        if self.tell is None:
            self.refused.append(text)
        else:
            self.tell(text)
        raise ImportError(text)

    def report_to(self, tell):
        self.tell = tell
        while self.refused:
            tell(self.refused.pop(0))


def is_trusted(path, links=0):
    """Whether nobody but root could have put this file there, nor anything above it."""
    folder = "/"
    parts = [part for part in path.split("/") if part]
    for position, part in enumerate(parts, 1):
        fixed = False
        try:
            fixed = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
            folder = os.path.join(folder, part)
            found = os.lstat(folder)
            if stat.S_ISLNK(found.st_mode):
                rest = os.path.join(os.path.dirname(folder), os.readlink(folder), *parts[position:])
                return (fixed or found.st_uid == 0) and links < 40 and is_trusted(os.path.normpath(rest), links + 1)
        except OSError:
            # Where it is not and cannot be made, there is nothing to be loaded.
            return fixed
        if fixed:
            continue
        # In a folder of root's, which is sticky, nobody removes or renames what is root's. A file with a second name may have
        # got the first one elsewhere.
        if found.st_uid != 0 or (position == len(parts) and found.st_nlink != 1):
            return False
    return stat.S_ISREG(found.st_mode)


def install():
    guard = Guard()
    sys.addaudithook(guard.hook)
    return guard
