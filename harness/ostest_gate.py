"""Memory per test: a leaf for each test, and the gate that every started program passes through on its way into it.

The plugin (ostest_harness.py) calls `install` where the environment has these settings, and takes them out again:

OSTEST_GATE         path of the gate program
OSTEST_GATE_FD      a datagram socket on which a gate asks the launcher to be put into the leaf that is current
OSTEST_LEAVES_FD    a SOCK_SEQPACKET socket, the harness's alone, on which it says when a test's leaf begins and ends

A program is started as it always was, by the same C function and with the same arguments, only that the C function is
told to execute `gate ERRFD SOCKET N EXE1 … EXEN ARG0 ARG1 …`. The gate is placed, closes the socket and executes the
first EXE that can be, with the environment as it is, and names that begin with OSTEST_GATE: without that. What the C function refuses it still refuses itself. The path that it is given is the gate's in
every case, so that even a call that is not understood here cannot start anything else.

What no hook in Python sees: programs that a C extension or ctypes starts. They stay in pytest's own leaf. So does a
process that forks and executes nothing, because its pages are pytest's.

One file, standard library only, Python 3.9 and later.
"""

import array
import errno
import fcntl
import json
import os
import posix
import signal
import socket
import subprocess
import sys
import threading

import _posixsubprocess

# What a launcher's answer to a gate begins with when the gate was placed.
PLACED = b"k"
UNCOUNTED = "the process cannot be counted, and was not started: "
# The arguments of _posixsubprocess.fork_exec that the gate has to do with, which were the first in every version.
FIRST = (
    "args executable_list close_fds pass_fds cwd env p2cread p2cwrite c2pread c2pwrite errread errwrite errpipe_read errpipe_write"
).split()
STREAMS = FIRST[FIRST.index("p2cread") :]
# Our descriptors in a child are out of the way of the low numbers that a suite's code closes, overwrites or counts, and
# below 64, where the kernel has to make a larger table for a process.
HIGH = 50
# What the dynamic linker takes out of the environment. It is meant for the program, and the gate is a program, too: it goes
# by another name until the gate executes the program.
LINKERS = (b"LD_", b"GLIBC_TUNABLES")
HIDDEN = b"OSTEST_GATE:"
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
        count = len(names)
    else:
        count = COUNTS.get(sys.version_info[:2], 0)
        known = "exactly %d arguments" % count in refusal(function)
    if not known:
        raise Unfit(
            "Python %s starts programs in a way that the harness does not know, so their memory could not be counted: "
            "use Python 3.9 to 3.14" % sys.version.split()[0]
        )
    return {name: position for position, name in enumerate(FIRST)}, count


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

    def __init__(self, program, fd):
        self.pid = os.getpid()
        self.program = os.fsencode(program)
        if not os.path.isabs(program) or not os.access(program, os.X_OK):
            raise Unfit("the gate %s cannot be executed: the launcher has to mount it there" % program)
        self.socket = take_socket(fd, "OSTEST_GATE_FD")
        self.fd = self.socket.fileno()
        self.at, self.count = layout()
        # The forked child that has been placed; a number, because a child has children.
        self.placed = None
        self.real = {}

    def words(self, errors, sock, programs, arguments):
        return [self.program, b"%d" % errors, b"%d" % sock, b"%d" % len(programs), *programs, *arguments]

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
        actions = named.get("file_actions")
        # What is no sequence, or no action, is C's to refuse.
        known = actions is None or hasattr(actions, "__iter__")
        actions = list(actions or ()) if known else []
        numbers = {word for action in actions if isinstance(action, tuple) for word in action if isinstance(word, int)}
        ours = []
        try:
            ours += os.pipe()
            # Numbers that the caller's actions name are theirs: what they close or overwrite must not be the gate's.
            for fd in (*ours, self.fd):
                ours.append(duplicate(fd, numbers))
            reader, errors, sock = ours[2:]
            if known:
                # A descriptor that is duplicated onto itself loses close-on-exec, in the child alone.
                onto = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in (errors, sock)]
                named = dict(named, file_actions=sparing(actions, errors, sock) + onto)
            pid = real(self.program, self.words(errors, sock, programs, argv), hide_mapping(env), **named)
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
        hooks = {}
        for module, name in [
            (_posixsubprocess, "fork_exec"),
            (posix, "posix_spawn"),
            (posix, "posix_spawnp"),
            (posix, "execv"),
            (posix, "execve"),
            (posix, "system"),
        ]:
            original = getattr(module, name)
            self.real[name] = original
            hooks[id(original)] = Hook(original, getattr(self, name))
        for module in list(sys.modules.values()):
            names = getattr(module, "__dict__", None) or {}
            for name, value in list(names.items()):
                if id(value) in hooks:
                    setattr(module, name, hooks[id(value)])
        for group in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks, os.supports_effective_ids):
            group |= {hooks[id(function)] for function in list(group) if id(function) in hooks}

    def guard_in_child(self):
        """In a forked child the socket is not there, as far as Python code can tell, until a program is executed.

        Honest code closes everything it does not know before an exec (pexpect does), and would then be refused.
        """
        if isinstance(os.close, Hook):
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
            module.close, module.closerange = Hook(real_close, close_other), Hook(real_range, close_others)


class Hook:
    """Looks like the built-in function for which it stands in.

    No function of Python's own: those become methods where a class holds them, and built-in functions do not.
    """

    def __init__(self, original, function):
        self.__wrapped__ = original
        self._function = function
        for name in ("__name__", "__qualname__", "__module__", "__doc__", "__text_signature__"):
            setattr(self, name, getattr(original, name, None))

    def __call__(self, *given, **named):
        return self._function(*given, **named)

    def __repr__(self):
        return repr(self.__wrapped__)

    def __reduce__(self):
        # Found by its name: in a process of its own this is the built-in function.
        return self.__qualname__


class Uncounted(OSError):
    """The launcher did not let a program into the leaf. It was not started."""


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


def hide_mapping(env):
    """The same for posix_spawn. What is no mapping is C's to refuse."""
    try:
        pairs = list(env.items())
        names = [os.fsencode(name) for name, _ in pairs]
    except (AttributeError, TypeError, ValueError):
        return env
    if not any(name.startswith(LINKERS) for name in names):
        return env
    return {HIDDEN + name if name.startswith(LINKERS) else name: value for name, (_, value) in zip(names, pairs)}


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


def sparing(actions, *spared):
    """posix_spawn's actions, none of which closes one of the spared descriptors."""
    close_from = getattr(os, "POSIX_SPAWN_CLOSEFROM", None)
    end = max(spared) + 1
    done = []
    for action in actions:
        lowest = action[1] if isinstance(action, tuple) and len(action) == 2 and action[0] == close_from else None
        if not isinstance(lowest, int) or not 0 <= lowest < end:
            done.append(action)
            continue
        done += [(os.POSIX_SPAWN_CLOSE, fd) for fd in range(lowest, end) if fd not in spared]
        done.append((close_from, end))
    return done


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


def install(program, gate_fd, leaves_fd):
    """Puts the gate between Python and every program that it starts. Gives the leaves.

    Raises Unfit, before anything was changed, where that cannot be done.
    """
    gate, leaves = Gate(program, gate_fd), Leaves(leaves_fd)
    gate.stand_in()

    def after_fork():
        leaves.close_in_child()
        gate.guard_in_child()

    os.register_at_fork(after_in_child=after_fork)
    return leaves
