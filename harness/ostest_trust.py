"""Says who could have put a file where a path leads. Standard library only, Python 3.9 and later.

A path is trusted that leads only through what lies on read-only file systems or belongs to root, and ends there. The suite's folders are
root's and sticky: whatever else is put into them, what belongs to root nobody inside can make, change, remove, or put in the
place of something else. So what is found trusted stays so.
"""

import os
import re
import stat

# What a path looks like that says nothing but itself.
PLAIN = re.compile(r"[\w./+,@%=~-]+", re.ASCII)


def walk(path):
    """Goes along the path as the kernel does. Gives whether every step is trusted, and what was found at its end.

    None for the end: there is nothing. It is trusted all the same where nobody could put something there.
    """
    folder, found, fixed, links = "/", None, False, 0
    left = (path if path.startswith("/") else os.path.join(os.getcwd(), path)).split("/")[::-1]
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            folder, found = os.path.dirname(folder), None
            continue
        fixed = False
        try:
            fixed = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
            step = os.path.join(folder, part)
            found = os.lstat(step)
            if not fixed and found.st_uid != 0:
                return False, found
            if not stat.S_ISLNK(found.st_mode):
                folder = step
                continue
            target = os.readlink(step)
        except (OSError, ValueError):
            return fixed, None
        links += 1
        if links > 40:
            return False, None
        left += target.split("/")[::-1]
        if target.startswith("/"):
            folder = "/"
    if found is None:
        found = os.lstat(folder)
    # A file with a second name may have got the first one elsewhere.
    return fixed or not stat.S_ISREG(found.st_mode) or found.st_nlink == 1, found


def is_trusted(path):
    """Whether nobody but root could have put this file there, nor anything above it. Something else than a file is not trusted."""
    trusted, found = walk(path)
    return trusted and (found is None or stat.S_ISREG(found.st_mode))


def is_trusted_place(path):
    """The same of a file or a folder."""
    return walk(path)[0]


def lies_in(path, folder):
    """Whether the path, links followed, leads to somewhere below the folder, or its own text says so."""
    if not folder:
        return False
    for shown, top in ((os.path.abspath(path), os.path.abspath(folder)), (os.path.realpath(path), os.path.realpath(folder))):
        if shown == top or shown.startswith(top.rstrip("/") + "/"):
            return True
    return False


def named(path):
    """A path in a sentence: in quotes and escaped where it is no plain one, because a program may have chosen it."""
    if PLAIN.fullmatch(path):
        return path
    return '"%s"' % path.encode("unicode_escape", "surrogatepass").decode("ascii").replace('"', '\\"')
