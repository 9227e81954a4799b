"""Puts the harness out of the reach of what it starts, before anything has been started.

`begin` is called by sitecustomize.py in the interpreter that the suite's command starts. The environment says

OSTEST_APART        `UID:GID`, the ids that set the harness apart

and is rid of it afterwards. The process has come as the student's user, with GID as its supplementary group and with two
capabilities over the sandbox's own ids (sandbox/src/plan.rs, Apart). From here on

- its real and saved user is UID, its effective user the student's: files that it makes, reads and removes are the student's
  as ever, and it can signal whom it has started; but to a student's program it is another user, which cannot be signalled,
  traced, looked into through /proc, or have its limits changed;
- it is not dumpable: its own /proc entries belong to root;
- GID lets it read the suite's modules, which a student's program cannot;
- of capabilities it has only CAP_SETGID, not inheritable: what it starts must lose the group, and loses the capability by
  the exec itself.

Standard library only, Python 3.9 and later.
"""

import errno
import functools
import operator
import os
import posix

import ostest_stand

PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
CAP_SETGID = 6
CAPABILITY_VERSION_3 = 0x20080522

# How many ids each of these takes.
SET_USER = {"setuid": 1, "seteuid": 1, "setreuid": 2, "setresuid": 3}
SET_GROUP = {"setgid": 1, "setegid": 1, "setregid": 2, "setresgid": 3}
SET_GROUPS = ("setgroups", "initgroups")
# The functions themselves, in whose places others will stand.
KERNEL = {name: getattr(posix, name) for name in (*SET_USER, *SET_GROUP, *SET_GROUPS)}

# The student's user and group, once the harness is apart. None: it is not.
student = None
# The group that may read what the suite hides.
group = None
# Whether this process has become a student's for good.
given_up = False


class Reachable(Exception):
    """The harness is not apart. The text is for whoever looks after the host."""


def begin():
    """Sets this process apart. Raises where that is not so afterwards."""
    global student, group
    uid, gid = (int(word) for word in os.environ.pop("OSTEST_APART").split(":"))
    ours = (os.getuid(), os.getgid())
    prefer_others()
    library = c_library()
    os.setresuid(uid, ours[0], uid)
    keep_setgid(library)
    if library.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise Reachable("the kernel refuses to make it not dumpable")
    look(library, uid, gid, *ours)
    student, group = ours, gid
    answer_for_effective()


def prefer_others():
    """When memory runs out, a program that was started is to be killed before pytest is: the launcher raises its score.

    Best effort: a verdict is right either way, only less telling.
    """
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("0")
    except OSError:
        pass


def c_library():
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def keep_setgid(library, kept=1 << CAP_SETGID):
    """Gives up every capability but CAP_SETGID, and that one does not outlive an exec."""
    import ctypes

    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    # Effective, permitted, inheritable, of the lower 32 and of the upper ones. What is not inheritable is not ambient.
    sets = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    if library.capset(header, sets) != 0:
        raise Reachable("the kernel refuses to take capabilities away: %s" % os.strerror(ctypes.get_errno()))


def look(library, uid, gid, student_uid, student_gid):
    """Asks the kernel whether all that was done is so."""
    with open("/proc/self/status") as file:
        said = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    numbers = {name: [int(word) for word in said.get(name, "").split()] for name in ("Uid", "Gid", "Groups")}
    wanted = {"Uid": [uid, student_uid, uid, student_uid], "Gid": [student_gid] * 4, "Groups": [gid]}
    for name, numbers_wanted in wanted.items():
        if numbers[name] != numbers_wanted:
            raise Reachable("%s of the process is %s and has to be %s" % (name, numbers[name], numbers_wanted))
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        mask = 1 << CAP_SETGID if name in ("CapPrm", "CapEff") else 0
        if int(said.get(name, "-1"), 16) != mask:
            raise Reachable("%s of the process is %s and has to be %x" % (name, said.get(name), mask))
    if library.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise Reachable("it is dumpable")


def answer_for_effective():
    """Who one is, is asked by code that wants to know what it may do: that is for the effective user to say. And who one may
    become is what a student may, though the harness itself could become more."""
    access = posix.access

    def effective_access(path, mode, *, dir_fd=None, effective_ids=False, follow_symlinks=True):
        return access(path, mode, dir_fd=dir_fd, effective_ids=True, follow_symlinks=follow_symlinks)

    answers = {
        "getuid": os.geteuid,
        "getresuid": lambda: (os.geteuid(),) * 3,
        "getgroups": lambda: [],
        "access": effective_access,
    }
    for names, own in ((SET_USER, student[0]), (SET_GROUP, student[1])):
        for name, count in names.items():
            answers[name] = functools.partial(set_ids, getattr(posix, name), count, own)
    for name in SET_GROUPS:
        answers[name] = functools.partial(set_groups, getattr(posix, name))
    ostest_stand.stand_in([(getattr(posix, name), function) for name, function in answers.items()])


def set_ids(real, count, own, *given, **named):
    """setuid and its kin as a student has them, who may become nobody but himself. What is wrong is C's to say, before it does it."""
    try:
        numbers = [operator.index(number) for number in given]
    except TypeError:
        return real(*given, **named)
    if len(numbers) != count or named or not all(-1 <= number < 1 << 32 for number in numbers):
        return real(*given, **named)
    if all(number in (-1, own) for number in numbers):
        return None
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def set_groups(real, *given, **named):
    """setgroups and initgroups as a student has them, whom the kernel refuses any. What is wrong is C's to say."""
    numbers = given[-1] if given and isinstance(given[-1], (list, tuple)) else given[-1:]
    if named or not given or not all(isinstance(number, int) and -1 <= number < 1 << 32 for number in numbers):
        return real(*given, **named)
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def become_student():
    """In a forked child: for good as what is started from here has to be. Nothing is done where the harness is not apart."""
    if student is not None:
        uid, gid = student
        KERNEL["setgroups"]([])
        KERNEL["setregid"](gid, gid)
        KERNEL["setreuid"](uid, uid)


def give_up():
    """In a forked child that goes on in Python: a student's process from here on, with nothing that a student does not have."""
    global student, given_up
    if student is not None:
        become_student()
        keep_setgid(c_library(), 0)
        student, given_up = None, True
