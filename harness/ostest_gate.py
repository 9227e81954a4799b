"""Memory per test: a leaf for each test, and the gate that every started program passes through on its way into it.

The plugin (ostest_harness.py) calls `install` where the environment has these settings, and takes them out again:

OSTEST_GATE         path of the gate program
OSTEST_SPAWN        path of the shared object that starts it as a student (sandbox/src/spawn.rs); absent: C's own function forks
OSTEST_GATE_FD      a datagram socket on which a gate asks the launcher to be put into the leaf that is current
OSTEST_LEAVES_FD    a SOCK_SEQPACKET socket, the harness's alone, on which it says when a test's leaf begins and ends

A program is started by `gate ERRFD SOCKET STEPS N EXE1 … EXEN ARG0 ARG1 …`. The gate is placed, closes the socket, takes the
steps that C's function takes in its child, and executes the first EXE that can be, with the environment as it is, and names
that begin with OSTEST_GATE: without that.

Most calls go to the shared object, which makes the child the student without copying pytest's memory. Whatever is out of the
ordinary about a call, a wrong type among it, goes to C's function as it always did, with the gate as its program: so C refuses what
it refused, and a call that is not understood here cannot start anything else.

What no hook in Python sees: programs that a C extension or ctypes starts. They stay in pytest's own leaf. So does a
process that forks and executes nothing, because its pages are pytest's.

Standard library only, Python 3.9 and later.
"""

import array
import ctypes
import errno
import fcntl
import functools
import json
import operator
import os
import posix
import resource
import signal
import socket
import subprocess
import sys
import threading
import warnings

import _posixsubprocess
import ostest_apart
import ostest_stand
from ostest_stand import Stand

# What a launcher's answer to a gate begins with when the gate was placed.
PLACED = b"k"
UNCOUNTED = "the process cannot be counted, and was not started: "
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
# Our descriptors in a child are out of the way of the low numbers that a suite's code closes, overwrites or counts, and
# below 64, where the kernel has to make a larger table for a process.
HIGH = 50
# What the dynamic linker takes out of the environment. It is meant for the program, and the gate is a program, too: it goes
# by another name until the gate executes the program.
LINKERS = (b"LD_", b"GLIBC_TUNABLES")
HIDDEN = b"OSTEST_GATE:"
# What a file action opens that is not to succeed.
NO_FILE = "/proc/self/there-is-no-such-file"
# How many there are where the function does not say their names.
COUNTS = {(3, 9): 21, (3, 10): 21, (3, 11): 23}


class Unfit(Exception):
    """Programs cannot be started through the gate here. The text is for whoever looks after the host."""


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


class Leaves:
    """Says to the launcher when a test's leaf begins and ends."""

    def __init__(self, fd):
        self.pid = os.getpid()
        self.socket = take_socket(fd, "OSTEST_LEAVES_FD")
        self.broken = None

    def open(self, leaf):
        """Makes the leaf current. Gives a sentence if that failed: then the test must not run."""
        return self.ask({"ask": "open", "leaf": leaf})

    def close(self):
        """Ends the current leaf. That it could not be ended is told by the next `open`."""
        self.broken = self.ask({"ask": "close"}) or self.broken

    def ask(self, request):
        # A child that goes on as pytest is in its parent's test.
        if os.getpid() != self.pid:
            return None
        if self.broken is not None:
            return self.broken
        # An answer that was not waited for would be taken for the next one's.
        self.broken = "the test's memory cannot be counted: an answer of the launcher was not waited for"
        try:
            self.socket.sendall(json.dumps(request).encode(), socket.MSG_NOSIGNAL)
            data = self.socket.recv(1 << 16)
            answer = json.loads(data) if data else {"ok": False, "error": "the launcher has hung up"}
        except (OSError, ValueError) as error:
            answer = {"ok": False, "error": str(error)}
        self.broken = None
        if isinstance(answer, dict) and answer.get("ok") is True:
            return None
        why = answer.get("error") if isinstance(answer, dict) else None
        return "the test's memory cannot be counted: %s" % (why or "the launcher's answer is not understood")

    def close_in_child(self):
        close(self.socket.detach())


class Gate:
    """What stands in for Python's functions that start programs."""

    def __init__(self, program, fd, library):
        self.pid = os.getpid()
        self.program = os.fsencode(program)
        if not os.path.isabs(program) or not os.access(program, os.X_OK):
            raise Unfit("the gate %s cannot be executed: the launcher has to mount it there" % program)
        self.socket = take_socket(fd, "OSTEST_GATE_FD")
        self.fd = self.socket.fileno()
        self.at, self.count = layout()
        self.quick = quick_start(library) if library else None
        # The forked child that has been placed; a number, because a child has children.
        self.placed = None
        self.real = {}

    def words(self, errors, sock, programs, arguments, steps=(b"-",)):
        return [self.program, b"%d" % errors, b"%d" % sock, *steps, b"%d" % len(programs), *programs, *arguments]

    def fork_exec(self, *given, **named):
        """`_posixsubprocess.fork_exec`: subprocess, os.popen, asyncio, multiprocessing's spawn and forkserver."""
        call = list(given)
        call[1:2] = [(self.program,)] * len(call[1:2])
        if len(given) != self.count or named:
            return self.real["fork_exec"](*call, **named)
        arguments, programs, keep = (given[self.at[name]] for name in ("args", "executable_list", "pass_fds"))
        numbers = {given[self.at[name]] for name in STREAMS if isinstance(given[self.at[name]], int)}
        errors = -1
        try:
            self.as_student(call)
            if self.quick:
                pid = self.start_quickly(call, given, numbers)
                if pid is not None:
                    return pid
            # Wrong ones are C's to refuse, and it looks at them before it looks at programs and arguments.
            if ascending(keep):
                # The pipe for a failed exec is close-on-exec, and has to outlive the gate's: a second one does.
                errors = duplicate(given[self.at["errpipe_write"]], numbers.union(keep))
                call[self.at["pass_fds"]] = tuple(sorted({*keep, self.fd} | ({errors} - {-1})))
                call[self.at["args"]] = self.words(errors, self.fd, as_programs(programs), as_arguments(arguments))
                call[self.at["env"]] = hide_list(given[self.at["env"]])
            return self.real["fork_exec"](*call)
        finally:
            close(errors)

    def start_quickly(self, call, given, numbers):
        """Starts the gate without a fork, if there is nothing about the call that only C knows to judge. None: there is."""
        values = {name: call[position] for name, position in self.at.items()}
        values["executable_list"] = given[self.at["executable_list"]]
        asked = (values["uid"], values["gid"], values["extra_groups"])
        ordinary = (None, None, None) if ostest_apart.student is None else (*ostest_apart.student, [])
        if asked != ordinary:
            return None
        steps = ordinary_steps(values)
        texts = ordinary_texts(values, given[self.at["args"]])
        if steps is None or texts is None:
            return None
        steps, kept = steps
        programs, arguments, env, folder = texts
        errors = duplicate(values["errpipe_write"], numbers.union(values["pass_fds"]))
        try:
            if errors < 0:
                return None
            words = self.words(errors, self.fd, programs, arguments, [steps + b",w", folder] if folder else [steps])
            user, group = ostest_apart.student or (-1, -1)
            pid, error = self.quick(self.program, words, env, sorted({*kept, errors, self.fd}), user, group)
            if error:
                # As C's child says it, whom subprocess waits for then.
                os.write(errors, b"OSError:%x:" % error)
            return pid
        finally:
            close(errors)

    def as_student(self, call):
        """Has C make the child the student before it executes the gate, where the harness is set apart from students.

        Whom a suite names itself is refused as the kernel refuses it to a student, who may name nobody but himself.
        """
        if ostest_apart.student is None:
            return
        user, group = ostest_apart.student
        at_user, at_group, at_groups = (self.at[name] for name in ("uid", "gid", "extra_groups"))
        given = (call[at_user], call[at_group], call[at_groups])
        # What is no id, or no list of ids, C refuses before it starts anything.
        if not all(number is None or is_id(number) for number in given[:2]):
            return
        if given[2] is not None and not (isinstance(given[2], list) and all(map(is_id, given[2]))):
            return
        allowed = given[0] in (None, -1, user) and given[1] in (None, -1, group) and given[2] is None
        call[at_user], call[at_group], call[at_groups] = user if allowed else 0, group, []

    def posix_spawn(self, *given, **named):
        """`os.posix_spawn`."""
        return self.spawn("posix_spawn", lambda path: [path], given, named)

    def posix_spawnp(self, *given, **named):
        """`os.posix_spawnp`."""
        return self.spawn("posix_spawnp", along_path, given, named)

    def spawn(self, name, candidates, given, named):
        real = self.real[name]
        if len(given) != 3:
            return real(*(self.program, *given[1:])[: len(given)], **named)
        path, argv, env = given
        programs = candidates(as_path(name, path))
        if not isinstance(argv, (tuple, list)) or not argv or argv[0] in ("", b""):
            return real(self.program, argv, env, **named)
        try:
            return self.spawn_at(real, programs, argv, env, named)
        except OSError as error:
            # C names the program where it could not be executed, and not where a file action could not be made.
            if error.filename == self.program:
                raise OSError(error.errno, error.strerror, path) from None
            raise

    def spawn_at(self, real, programs, argv, env, named):
        """What posix_spawn does, by fork_exec: posix_spawn itself cannot make the child another user."""
        actions = named.get("file_actions")
        known = actions is None or hasattr(actions, "__iter__")
        actions = list(actions or ()) if known else actions
        self.refuse(real, argv, env, actions, named)
        numbers = {word for action in actions for word in action if isinstance(word, int)}
        ours = []
        try:
            ours += os.pipe()
            # Numbers that the caller's actions name are theirs: what they close or overwrite must not be the gate's.
            for fd in (*ours, self.fd):
                ours.append(duplicate(fd, numbers))
            reader, errors, sock = ours[2:]
            call = [-1] * self.count
            for name, value in {
                "args": self.words(errors, sock, programs, argv),
                "executable_list": (self.program,),
                "close_fds": False,
                "pass_fds": (),
                "cwd": None,
                "env": hide_list(as_entries(env)),
                "errpipe_read": reader,
                "errpipe_write": errors,
                "restore_signals": False,
                "call_setsid": False,
                "gid": None,
                "extra_groups": None,
                "uid": None,
                "preexec_fn": functools.partial(act, actions, named, errors, sock),
                "allow_vfork": False,
            }.items():
                if name in self.at:
                    call[self.at[name]] = value
            self.as_student(call)
            # Of threads that are forked with the rest Python warns, and posix_spawn does not.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = self.real["fork_exec"](*call)
            # The end that is read comes when the gate has executed the program, or has ended.
            close(ours.pop(1), ours.pop(2))
            told = b"".join(iter(lambda: os.read(reader, 4096), b""))
        finally:
            close(*ours)
        if told:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass
            raise as_error(told, self.program)
        return pid

    def refuse(self, real, argv, env, actions, named):
        """Has C look at everything, and the kernel at all but the caller's actions, which must be done once and not twice.

        The first of the actions cannot be done, so that nothing is executed and no other action done.
        """
        if isinstance(actions, list):
            named = dict(named, file_actions=[(os.POSIX_SPAWN_OPEN, 0, NO_FILE, os.O_RDONLY, 0), *actions])
        try:
            pid = real(self.program, argv, env, **named)
        except FileNotFoundError:
            return
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise Uncounted(errno.EPERM, UNCOUNTED + "%s exists" % NO_FILE)

    def execv(self, *given, **named):
        """`os.execv`, and through it os.execl, os.execlp, os.execvp, os.spawn* and pty.spawn."""
        self.enter()
        return self.real["execv"](*given, **named)

    def execve(self, *given, **named):
        """`os.execve`, and through it os.execle, os.execlpe, os.execvpe and the os.spawn*e."""
        self.enter()
        return self.real["execve"](*given, **named)

    def enter(self):
        """Puts this process, a forked child, into the current leaf, before it executes a program.

        The gate could not do it: whoever calls exec goes on after one that failed, to the next folder of PATH for example,
        and from the gate there is no way back. Pytest itself is never placed. One that replaces itself by another
        program has ended without the end of its test, which is not passed, and is counted where pytest was.
        """
        pid = os.getpid()
        if pid == self.pid or pid == self.placed:
            return
        try:
            reader, writer = os.pipe()
            try:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer]))]
                self.socket.sendmsg([b"g"], rights, socket.MSG_NOSIGNAL)
                close(writer)
                writer = -1
                answer = os.read(reader, 1)
            finally:
                close(reader, writer)
        except OSError as error:
            raise Uncounted(errno.EPERM, UNCOUNTED + str(error)) from None
        if answer != PLACED:
            raise Uncounted(errno.EPERM, UNCOUNTED + "the launcher did not let it in")
        # Before it counts as placed: one that could not become the student is not to try again and be let through.
        ostest_apart.become_student()
        self.placed = pid

    def system(self, command):
        """`os.system`, as the C library does it: the caller ignores SIGINT and SIGQUIT, the shell does not.

        What a signal's handler in Python does it does afterwards, as Python has it with a call into C. So signals that have
        one are blocked, which others must not be: a SIGTERM ends pytest at once. Handlers can be changed by the main
        thread alone; calls from others leave them as they are.
        """
        command = os.fsencode(command)
        if b"\0" in command:
            raise ValueError("embedded null byte")
        sys.audit("os.system", command)
        main = threading.current_thread() is threading.main_thread()
        before = {number: signal.getsignal(number) for number in signal.valid_signals()}
        # A handler that Python did not install (None) could not be put back.
        quiet = [number for number in (signal.SIGINT, signal.SIGQUIT) if main and before[number] is not None]
        blocked = {number for number, handler in before.items() if callable(handler)} - {signal.SIGINT, signal.SIGQUIT}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        late = []
        try:
            for number in quiet:
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, blocked | {signal.SIGCHLD})
            reset = [number for number in (signal.SIGINT, signal.SIGQUIT) if before[number] is not signal.SIG_IGN]
            how = {"setsigmask": mask, "setsigdef": reset}
            argv = [b"sh", b"-c", b"--", command]
            try:
                pid = self.spawn_at(self.real["posix_spawn"], [b"/bin/sh"], argv, os.environb, how)
            except Uncounted:
                raise
            except OSError:
                # As if the shell had ended at once with 127.
                return 127 << 8
            return wait_out(pid, late)
        finally:
            for number in quiet:
                signal.signal(number, before[number])
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if late:
                raise late[0]

    def stand_in(self):
        """Puts the hooks where the functions are, in every module that has been loaded."""
        functions = []
        for module, name in [
            (_posixsubprocess, "fork_exec"),
            (posix, "posix_spawn"),
            (posix, "posix_spawnp"),
            (posix, "execv"),
            (posix, "execve"),
            (posix, "system"),
        ]:
            self.real[name] = getattr(module, name)
            functions.append((self.real[name], getattr(self, name)))
        ostest_stand.stand_in(functions)

    def guard_in_child(self):
        """In a forked child the socket is not there, as far as Python code can tell, until a program is executed.

        Honest code closes everything it does not know before an exec (pexpect does), and would then be refused.
        """
        if isinstance(os.close, Stand):
            return
        real_close, real_range, fd = os.close, os.closerange, self.fd

        def close_other(*given, **named):
            if [*given, *named.values()] == [fd]:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            return real_close(*given, **named)

        def close_others(*given, **named):
            if len(given) != 2 or named or not (given[0] <= fd < given[1]):
                return real_range(*given, **named)
            real_range(given[0], fd)
            real_range(fd + 1, given[1])

        for module in (os, posix):
            module.close, module.closerange = Stand(real_close, close_other), Stand(real_range, close_others)


class Uncounted(OSError):
    """The launcher did not let a program into the leaf. It was not started."""


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
    # C moves these out of the way first.
    if c2pwrite == 0 or errwrite in (0, 1):
        return None
    try:
        kept = {fd for fd in (p2cread, c2pwrite, errwrite) if fd != -1}
        steps = ["x%d" % fd for fd in sorted(kept - set(values["pass_fds"])) if not os.get_inheritable(fd)]
        # Most have gone with the gate's exec.
        ours = {fd for fd in (p2cwrite, c2pread, errread, errpipe_read) if fd != -1}
        steps += ["c%d" % fd for fd in sorted(ours) if os.get_inheritable(fd)]
        kept |= set(values["pass_fds"]) - {errpipe_write}
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


def as_error(told, program):
    """The exception for what a gate says of a program, which it says as CPython's child does."""
    kind, _, rest = told.partition(b":")
    number, _, text = rest.partition(b":")
    try:
        code = int(number, 16) if kind == b"OSError" else 0
    except ValueError:
        code = 0
    if code:
        return OSError(code, os.strerror(code), program)
    return Uncounted(errno.EPERM, text.decode("utf-8", "replace") or UNCOUNTED + repr(told))


def wait_out(pid, late):
    """Waits for the process whatever handlers of signals that came to other threads raise: C's wait cannot be left."""
    while True:
        try:
            return os.waitpid(pid, 0)[1]
        except ChildProcessError:
            return -1
        except BaseException as error:
            late.append(error)


def hide_list(env):
    """fork_exec's environment with what is the linker's under another name. None is this process's own."""
    if env is None:
        if not any(name.startswith(LINKERS) for name in os.environb):
            return None
        env = [name + b"=" + value for name, value in os.environb.items()]
    if not isinstance(env, (list, tuple)) or not all(isinstance(entry, bytes) for entry in env):
        return env
    return [HIDDEN + entry if entry.startswith(LINKERS) else entry for entry in env]


def as_entries(env):
    """posix_spawn's environment, which C has found to be one, as fork_exec's. None is this process's own in both."""
    return None if env is None else [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in env.items()]


def act(actions, named, errors, sock):
    """In the child: what posix_spawn does there before it executes the program, in the order of the C library."""
    try:
        for number in named.get("setsigdef") or ():
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(number, signal.SIG_DFL)
        if named.get("scheduler") is not None:
            policy, parameter = named["scheduler"]
            if policy is None:
                os.sched_setparam(0, parameter)
            else:
                os.sched_setscheduler(0, policy, parameter)
        if named.get("setsid"):
            os.setsid()
        if named.get("setpgroup") is not None:
            os.setpgid(0, named["setpgroup"])
        for action in actions:
            act_on_file(action, (errors, sock))
        if named.get("setsigmask") is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, named["setsigmask"])
        # Last, because it is the gate that has to have them.
        os.set_inheritable(errors, True)
        os.set_inheritable(sock, True)
    except OSError as error:
        os.write(errors, b"OSError:%x:" % (error.errno or errno.EIO))
        os._exit(127)


def act_on_file(action, spared):
    kind, fd, *more = action
    if kind == os.POSIX_SPAWN_OPEN:
        path, flags, mode = more
        close(fd)
        opened = os.open(path, flags, mode)
        if opened != fd:
            os.dup2(opened, fd)
            os.close(opened)
        elif not flags & os.O_CLOEXEC:
            os.set_inheritable(fd, True)
    elif kind == os.POSIX_SPAWN_DUP2:
        # One that is duplicated onto itself loses close-on-exec.
        if more[0] == fd:
            os.set_inheritable(fd, True)
        else:
            os.dup2(fd, more[0])
    elif kind == os.POSIX_SPAWN_CLOSE:
        if fd >= resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        close(fd)
    else:
        # POSIX_SPAWN_CLOSEFROM, of Python 3.13.
        for low, high in zip((-1, *sorted(spared)), (*sorted(spared), resource.getrlimit(resource.RLIMIT_NOFILE)[0])):
            os.closerange(max(low + 1, fd), high)


def is_id(number):
    """Whether C takes it for a user or a group."""
    try:
        return -1 <= operator.index(number) < 1 << 32
    except TypeError:
        return False


def as_path(name, path):
    """The path as bytes; refused as the C function of this name would."""
    try:
        data = os.fsencode(path)
    except TypeError:
        kind = type(path).__name__
        raise TypeError("%s: path should be string, bytes or os.PathLike, not %s" % (name, kind)) from None
    if b"\0" in data:
        raise ValueError("embedded null byte")
    return data


def along_path(name):
    """Where posix_spawnp looks for a program: the C library's rule, with this process's own PATH."""
    if b"/" in name or not name:
        return [name]
    path = os.environb.get(b"PATH", b"/bin:/usr/bin")
    return [os.path.join(folder, name) for folder in path.split(b":")]


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


def duplicate(fd, taken):
    """A second descriptor, close-on-exec, whose number is none of those; -1 for something that is no descriptor."""
    if not isinstance(fd, int):
        return -1
    start, passed = HIGH, -1
    while True:
        try:
            copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, start)
        except OSError as error:
            if error.errno == errno.EBADF:
                return -1
            if start != HIGH or error.errno not in (errno.EINVAL, errno.EMFILE):
                raise
            # Few descriptors are allowed here.
            start = 3
            continue
        finally:
            close(passed)
        if copy not in taken:
            return copy
        start, passed = copy + 1, copy


def take_socket(fd, name):
    """The socket that this variable named, close-on-exec and with a number that is out of the way."""
    try:
        if fd is None:
            raise OSError(errno.EBADF, "it is not set")
        copy = duplicate(fd, ())
        if copy < 0:
            raise OSError(errno.EBADF, "descriptor %d is not open" % fd)
        taken = socket.socket(fileno=copy)
        close(fd)
        taken.setblocking(True)
        return taken
    except OSError as error:
        raise Unfit("%s has to be the number of a socket: %s" % (name, error)) from None


def close(*numbers):
    for fd in numbers:
        try:
            if fd >= 0:
                os.close(fd)
        except OSError:
            pass


def install(program, gate_fd, leaves_fd, library=""):
    """Puts the gate between Python and every program that it starts. Gives the leaves.

    Raises Unfit, before anything was changed, where that cannot be done.
    """
    gate, leaves = Gate(program, gate_fd, library), Leaves(leaves_fd)
    gate.stand_in()

    def after_fork():
        leaves.close_in_child()
        gate.guard_in_child()

    os.register_at_fork(after_in_child=after_fork)
    return leaves
