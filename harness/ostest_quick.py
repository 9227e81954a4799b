"""Starts the gate as a student without copying pytest, by the shared object of sandbox/src/spawn.rs.

For calls of fork_exec about which there is nothing that only C knows to judge; the gate takes the steps of C's child.
Standard library only, Python 3.9 and later.
"""

import ctypes
import os
import signal
import subprocess

from ostest_call import STREAMS, ascending, hide_list
from ostest_fds import Unfit

# From 3.13 on subprocess wants to know that it was the working directory that could not be entered.
FOLDER = b"wc" if "noexec:chdir" in subprocess.Popen._execute_child.__code__.co_consts else b"w"


class Request(ctypes.Structure):
    """The request of sandbox/src/spawn.rs."""

    _fields_ = [
        ("program", ctypes.c_char_p),
        ("argv", ctypes.POINTER(ctypes.c_char_p)),
        ("envp", ctypes.POINTER(ctypes.c_char_p)),
        ("keep", ctypes.POINTER(ctypes.c_int)),
        ("keep_count", ctypes.c_size_t),
        ("uid", ctypes.c_int64),
        ("gid", ctypes.c_int64),
        ("error", ctypes.c_int),
    ]


def quick_start(library):
    """The function of the shared object: gives a pid, and why the gate could not be executed, or 0."""
    try:
        # With the interpreter's lock held, as C's function does it: no thread of Python's runs while memory is shared.
        function = ctypes.PyDLL(library).ostest_spawn
    except (OSError, AttributeError) as error:
        raise Unfit("the gate cannot be started: %s" % error) from None
    function.argtypes, function.restype = [ctypes.POINTER(Request)], ctypes.c_int

    def texts(list):
        return (ctypes.c_char_p * (len(list) + 1))(*list, None)

    def start(program, words, env, keep, user, group):
        numbers = (ctypes.c_int * len(keep))(*keep)
        request = Request(program, texts(words), None if env is None else texts(env), numbers, len(keep), user, group, 0)
        pid = function(ctypes.byref(request))
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return pid, request.error

    return start


def ordinary_steps(values):
    """What the gate has to do for this call of fork_exec, and the descriptors that it has to find. None: it is C's to do."""
    streams = [values[name] for name in STREAMS]
    flags = [values[name] for name in ("close_fds", "restore_signals", "call_setsid", "child_umask")]
    group = values.get("pgid_to_set", -1)
    p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, errpipe_read, errpipe_write = streams
    if values["preexec_fn"] is not None or not ascending(values["pass_fds"]):
        return None
    if not all(type(number) in (int, bool) for number in (*streams, *flags, group)) or errpipe_write < 3:
        return None
    # One that means two things at once is C's to understand.
    if errpipe_write in (p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, errpipe_read, *values["pass_fds"]):
        return None
    # C moves these out of the way first.
    if c2pwrite == 0 or errwrite in (0, 1):
        return None
    try:
        kept = {fd for fd in (p2cread, c2pwrite, errwrite) if fd != -1}
        steps = ["x%d" % fd for fd in sorted(kept - set(values["pass_fds"])) if not os.get_inheritable(fd)]
        # Most have gone with the gate's exec.
        ours = {fd for fd in (p2cwrite, c2pread, errread, errpipe_read) if fd != -1}
        steps += ["c%d" % fd for fd in sorted(ours) if os.get_inheritable(fd)]
        kept |= set(values["pass_fds"])
        for fd in kept:
            os.get_inheritable(fd)
    except (OSError, OverflowError):
        return None
    steps += ["d%d:%d" % (fd, target) for target, fd in enumerate((p2cread, c2pwrite, errwrite)) if fd != -1]
    close_fds, restore_signals, call_setsid, umask = flags
    steps += ["u%o" % umask] * (umask >= 0) + ["r"] * bool(restore_signals)
    steps.append("m%x" % sum(1 << (number - 1) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    steps += ["s"] * bool(call_setsid) + ["g%d" % group] * (group >= 0)
    if close_fds:
        steps.append("f" + ":".join("%d" % fd for fd in values["pass_fds"]))
    return ",".join(steps).encode(), kept


def ordinary_texts(values, arguments):
    """The programs, arguments, environment and folder of a call of fork_exec as bytes. None: C has to look at them."""
    programs, env, folder = values["executable_list"], values["env"], values["cwd"]
    if not isinstance(programs, (list, tuple)) or not isinstance(arguments, (list, tuple)):
        return None
    if env is not None and not isinstance(env, (list, tuple)):
        return None
    try:
        arguments = [os.fsencode(argument) for argument in arguments]
        folder = None if folder is None else os.fsencode(folder)
    except (TypeError, ValueError):
        return None
    all = [*programs, *arguments, *(env or ()), folder or b""]
    if not all_bytes(all) or any(b"\0" in text for text in all) or folder == b"":
        return None
    return list(programs), arguments, hide_list(env), folder


def all_bytes(texts):
    return all(type(text) is bytes for text in texts)
