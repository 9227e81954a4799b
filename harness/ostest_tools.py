"""Looks at where the suite's tools are started: make, valgrind and others obey a file that lies in their folder, whoever put it there.

In the suite's own folders that is seen from outside. In a copy, in the project or in `tmp_path` it is looked at when the tool is started, and
again at the end of the test: a file that configures a tool, and that a student could have written, is told. By one that the tool obeys
nothing has passed.

What pytest starts through a shell is read word by word, and what a script or another program starts is not seen.

Standard library only, Python 3.9 and later.
"""

import os
import re
import shlex
import stat
import sys

import ostest_apart
from ostest_trust import is_trusted, named, walk

MAKES = ("make", "gmake", "gnumake", "bear")
ORDER = ("GNUmakefile", "makefile", "Makefile")
# A tool, what it reads in its working directory, and what keeps it from doing so.
OBEYED = {
    "valgrind": (".valgrindrc", ("--command-line-only=yes",)),
    "callgrind_control": (".valgrindrc", ()),
    "prove": (".proverc", ("--norc",)),
    "indent": (".indent.pro", ("-npro", "--ignore-profile")),
    "splint": (".splintrc", ("-nof",)),
    "clang-tidy": (".clang-tidy", ("--config",)),
}
# The same where the tool reads it only if it is told to elsewhere.
READ = {"gdb": (".gdbinit", ("-nx", "--nx", "-n", "-nh", "--nh")), "lldb": (".lldbinit", ("-x", "--no-lldbinit"))}
# What takes two names of one file for the same and opens neither, not even one that it could not read.
COMPARES = ("diff", "cmp", "diff3", "sdiff", "colordiff", "dwdiff", "wdiff")
# What starts what follows it.
BEFORE = ("env", "timeout", "nice", "setsid", "stdbuf", "time", "unbuffer", "xargs", "sudo", "exec", "command", "libtool", "taskset", "prlimit")
SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh")
KNOWN = {*MAKES, *OBEYED, *READ, *COMPARES}
# Words of one command, and commands of one script, that are looked at.
WORDS, COMMANDS = 400, 100
# Most files and folders of what is compared that are looked at.
MOST_COMPARED = 2000


class Tools:
    def __init__(self, notes, made):
        self.notes, self.made = notes, made
        self.project = os.path.realpath(os.environ.get("OSTEST_PROJECT") or "/")
        self.places = {}
        self.makefiles = None

    def hook(self, event, args):
        try:
            if event == "subprocess.Popen":
                self.started(args[1], args[2])
            elif event == "os.posix_spawn" or event == "os.exec":
                self.started(args[1], None)
            elif event == "os.system":
                self.script(os.fsdecode(args[0]), os.getcwd())
        except (OSError, ValueError, TypeError, IndexError):
            # What is wrong with it is for whoever starts it to say.
            pass

    def started(self, words, folder):
        folder = os.path.join(os.getcwd(), os.fsdecode(folder)) if folder else os.getcwd()
        words = [words] if isinstance(words, (str, bytes, os.PathLike)) else words
        self.command([os.fsdecode(word) for word in list(words)[:WORDS]], folder)

    def script(self, text, folder):
        """What a shell is given, as far as it can be read without one."""
        for line in re.split(r"&&|\|\||[;&|\n()]", text)[:COMMANDS]:
            try:
                words = shlex.split(line, comments=True)
            except ValueError:
                words = line.split()
            while words and re.match(r"^\w+=", words[0]):
                words.pop(0)
            if len(words) > 1 and words[0] == "cd":
                folder = os.path.join(folder, os.path.expandvars(words[1]))
            elif words:
                self.command([os.path.expandvars(word) for word in words[:WORDS]], folder)

    def command(self, words, folder):
        if not words:
            return
        name = os.path.basename(words[0])
        if name in SHELLS:
            for at, word in enumerate(words[1:-1], 1):
                if re.match(r"^-[a-z]*c$", word):
                    self.script(words[at + 1], folder)
                    return
            return
        if name in BEFORE:
            for at, word in enumerate(words[1:], 1):
                inner = os.path.basename(word)
                if inner in KNOWN or inner in SHELLS:
                    self.command(words[at:], folder)
                    return
            return
        if name in MAKES:
            self.make(words[1:], folder)
        elif name in COMPARES:
            for word in words[1:]:
                self.compared(name, os.path.join(folder, word))
        elif name in OBEYED or name in READ:
            known, without = OBEYED.get(name) or READ[name]
            if not any(word.startswith(without) for word in words[1:] if without):
                self.place(name, known, folder)
        elif re.match(r"^python3?[\d.]*$", name):
            # A program's own folder comes first; without a program it is the working directory.
            if any(word in ("-c", "-m", "-") for word in words[1:2]):
                self.place("python", None, folder)

    def make(self, words, folder):
        words = iter(words)
        for word in words:
            if word.startswith(("-f", "--file", "--makefile")) or re.match(r"^-[a-zA-Z]*f$", word):
                return
            if word in ("-C", "--directory"):
                folder = os.path.join(folder, next(words, ""))
            elif word.startswith("-C"):
                folder = os.path.join(folder, word[2:])
            elif word.startswith("--directory="):
                folder = os.path.join(folder, word.partition("=")[2])
        self.place("make", None, folder)

    def compared(self, tool, path):
        """A link of a student's that leads to the expected output is that output; in folders as well, which `diff -r` goes through."""
        self.look_at_compared(tool, path)
        if not os.path.isdir(path):
            return
        left = MOST_COMPARED
        for folder, _, names in os.walk(path, followlinks=True):
            left -= 1
            for name in names[: max(left, 0)]:
                self.look_at_compared(tool, os.path.join(folder, name))
            left -= len(names)
            if left <= 0:
                # Links to folders can go round.
                return

    def look_at_compared(self, tool, path):
        try:
            hidden = ostest_apart.group is not None and os.stat(path).st_gid == ostest_apart.group
        except OSError:
            return
        if hidden and not walk(path)[0]:
            self.notes.note(
                "displaced",
                "%s was given %s, which leads to a file that the suite hides, by a path that the submission could have made" % (tool, named(path)),
            )

    def place(self, tool, known, folder):
        key = (tool, known, os.path.normpath(folder))
        if len(self.places) < 1000:
            self.places[key] = True
        self.look_at(*key)

    def look(self):
        """At a test's end: it may have come after the tool was started."""
        while self.places:
            self.look_at(*self.places.popitem()[0])

    def look_at(self, tool, known, folder):
        try:
            if tool == "make":
                self.look_at_makefiles(folder)
            elif tool == "python":
                self.look_at_modules(folder)
            else:
                self.look_at_settings(tool, os.path.join(folder, known))
        except OSError:
            pass

    def look_at_settings(self, tool, path):
        if not os.path.lexists(path) or self.is_own(path):
            return
        if tool in READ:
            self.notes.note("remark", "%s was started where the submission could have written %s: %s" % (tool, path, advice(tool)))
            return
        self.notes.note("displaced", "%s obeyed %s, which the submission could have written: %s" % (tool, path, advice(tool)))

    def look_at_makefiles(self, folder):
        there = [name for name in ORDER if os.path.lexists(os.path.join(folder, name))]
        real = os.path.realpath(folder) + "/"
        mine = self.made.wrote if real.startswith(self.project + "/") else self.is_suites
        # In the suite's own folders it is seen from outside.
        if there and mine(os.path.join(folder, there[0])) and not real.startswith(self.made.top + "/"):
            self.look_at_included(folder, there[0])
        if len(there) < 2 or self.is_own(os.path.join(folder, there[0])):
            return
        for name in there[1:]:
            if mine(os.path.join(folder, name)):
                self.notes.note(
                    "displaced",
                    "make was started in %s, where %s, which the submission could have written, goes before the suite's %s: start it "
                    "with `make -f %s`" % (folder, there[0], name, name),
                )
                return

    def look_at_included(self, folder, name):
        """What the suite's Makefile includes where it is there, and a student could have put there."""
        text = (contents(os.path.join(folder, name)) or b"").decode("utf-8", "replace")
        for words in re.findall(r"(?m)^ *(?:-|s)include +([^#\n]*)", text)[:COMMANDS]:
            for word in words.split():
                path = os.path.join(folder, word)
                if re.search(r"[$*%\\]|\.d$|depend", word) or not os.path.lexists(path) or self.is_own(path):
                    continue
                self.notes.note(
                    "remark",
                    "make was started in %s, where the suite's %s includes %s, which the submission could have written" % (folder, name, word),
                )

    def look_at_modules(self, folder):
        names = getattr(sys, "stdlib_module_names", ())
        if not names or is_trusted_folder(folder):
            return
        for entry in os.listdir(folder)[:5000]:
            stem = entry.partition(".")[0]
            path = os.path.join(folder, entry)
            module = entry.endswith((".py", ".pyc", ".so")) or os.path.lexists(os.path.join(path, "__init__.py"))
            if stem in names and module and not self.is_own(path):
                self.notes.note(
                    "remark",
                    "Python was started in %s, where it takes %s, which the submission could have written, for its own module: start it with -I"
                    % (folder, entry),
                )
                return

    def is_own(self, path):
        return self.made.wrote(path) or is_trusted(path)

    def is_suites(self, path):
        """Whether this is one of the suite's, or a copy of one."""
        if self.is_own(path):
            return True
        text = contents(path)
        if text is None:
            return False
        if self.makefiles is None:
            self.makefiles = list(shipped(self.made.top))
        return any(text == contents(other) for other in self.makefiles)


def advice(tool):
    if tool == "valgrind":
        return "start it in HOME, or with --command-line-only=yes"
    if tool == "gdb":
        return "gdb does not read it unless it is told that the folder is safe; start it in HOME, or with -nx"
    return "start it in HOME"


def contents(path):
    """What is in a file that is no link and no pipe, and small; None where it is not."""
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size > 1 << 20:
            return None
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, found.st_size)
    except OSError:
        return None
    finally:
        os.close(fd)


def shipped(top):
    """Paths of the suite's own Makefiles."""
    for folder, _, names in os.walk(top):
        for name in names:
            if "makefile" in name.lower() and is_trusted(os.path.join(folder, name)):
                yield os.path.join(folder, name)


def is_trusted_folder(folder):
    """Whether nobody but root makes anything there."""
    found = os.stat(folder)
    return found.st_uid == 0 and not found.st_mode & 0o022
