"""What is known of `_posixsubprocess.fork_exec`: its arguments, and what of them C would refuse.

Standard library only, Python 3.9 and later.
"""

import operator
import os
import sys

import _posixsubprocess
from ostest_fds import Unfit

# The arguments of _posixsubprocess.fork_exec that the gate has to do with, which were the first in every version.
FIRST = (
    "args executable_list close_fds pass_fds cwd env p2cread p2cwrite c2pread c2pwrite errread errwrite errpipe_read errpipe_write"
).split()
STREAMS = FIRST[FIRST.index("p2cread") :]
# What follows them, where the function says no names; of what it says only some are needed.
LAST = {
    21: "restore_signals call_setsid gid extra_groups uid child_umask preexec_fn".split(),
    23: "restore_signals call_setsid pgid_to_set gid extra_groups uid child_umask preexec_fn allow_vfork".split(),
}
NEEDED = ("gid", "extra_groups", "uid", "preexec_fn")
# What the dynamic linker takes out of the environment. It is meant for the program, and the gate is a program, too: it goes
# by another name until the gate executes the program.
LINKERS = (b"LD_", b"GLIBC_TUNABLES")
HIDDEN = b"OSTEST_GATE:"
# How many there are where the function does not say their names.
COUNTS = {(3, 9): 21, (3, 10): 21, (3, 11): 23}


def layout():
    """The positions of fork_exec's arguments by name, and how many there are in all.

    A wrong guess would start a program past the gate or with wrong arguments, so an unknown layout ends the run.
    """
    function = _posixsubprocess.fork_exec
    signature = getattr(function, "__text_signature__", None)
    if signature:
        words = [word.strip() for word in signature.strip("()").split(",")]
        names = [word for word in words if word != "/" and not word.startswith("$")]
        known = names[: len(FIRST)] == FIRST and not any("=" in word or "*" in word for word in names)
    else:
        count = COUNTS.get(sys.version_info[:2], 0)
        names = FIRST + LAST.get(count, [])
        known = "exactly %d arguments" % count in refusal(function)
    known = known and set(NEEDED).issubset(names)
    if not known:
        raise Unfit(
            "Python %s starts programs in a way that the harness does not know, so their memory could not be counted: "
            "use Python 3.9 to 3.14" % sys.version.split()[0]
        )
    return {name: position for position, name in enumerate(names)}, len(names)


def refusal(function):
    """What the function says when it is called without arguments."""
    try:
        function()
    except TypeError as error:
        return str(error)
    return ""


def is_id(number):
    """Whether C takes it for a user or a group."""
    try:
        return -1 <= operator.index(number) < 1 << 32
    except TypeError:
        return False


def as_programs(programs):
    """fork_exec's list of programs as a list; refused as C would refuse it."""
    count = len(programs)
    if count > sys.maxsize // 8:
        raise MemoryError
    taken = [programs[position] for position in range(count)]
    for program in taken:
        if not isinstance(program, bytes):
            raise TypeError("expected bytes, %s found" % type(program).__name__)
    return taken


def as_arguments(arguments):
    """fork_exec's arguments as a list; what is wrong with one of them is C's to say."""
    if arguments is None:
        return []
    try:
        return list(arguments)
    except TypeError:
        raise TypeError("argv must be a tuple") from None


def ascending(numbers):
    """Whether these are descriptors as fork_exec takes them: a tuple of ascending numbers."""
    if not isinstance(numbers, tuple) or not all(isinstance(number, int) for number in numbers):
        return False
    return all(low < high for low, high in zip((-1, *numbers), numbers))


def hide_list(env):
    """fork_exec's environment with what is the linker's under another name. None is this process's own."""
    if env is None:
        if not any(name.startswith(LINKERS) for name in os.environb):
            return None
        env = [name + b"=" + value for name, value in os.environb.items()]
    if not isinstance(env, (list, tuple)) or not all(isinstance(entry, bytes) for entry in env):
        return env
    return [HIDDEN + entry if entry.startswith(LINKERS) else entry for entry in env]
