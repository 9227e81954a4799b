"""Memory per test: a leaf for each test, and the gate that every started program passes through on its way into it.

The plugin (ostest_harness.py) calls `install` where the environment has these settings, and takes them out again:

OSTEST_GATE         path of the gate program
OSTEST_SPAWN        path of the shared object that starts it as a student (sandbox/src/spawn.rs); absent: C's own function forks
OSTEST_GATE_FD      a datagram socket on which a gate asks the launcher to be put into the leaf that is current
OSTEST_LEAVES_FD    a SOCK_SEQPACKET socket, the harness's alone, on which it says when a test's leaf begins and ends

A program is started by `gate ERRFD SOCKET:LEAF STEPS N EXE1 … EXEN ARG0 ARG1 …`. The gate is placed, closes the socket, takes the
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
import errno
import functools
import os
import posix
import signal
import socket
import stat
import sys
import threading
import warnings

import _posixsubprocess
import ostest_apart
import ostest_stand
from ostest_call import STREAMS, as_arguments, as_programs, ascending, hide_list, is_id, layout
from ostest_fds import Unfit, close, duplicate, take_socket
from ostest_leaves import NOBODYS, Leaves
from ostest_quick import FOLDER, ordinary_steps, ordinary_texts, quick_start
from ostest_spawn import act, along_path, as_entries, as_path
from ostest_stand import Stand

# What a launcher's answer to a gate begins with when the gate was placed.
PLACED = b"k"
UNCOUNTED = "the process cannot be counted, and was not started: "
# How multiprocessing starts its resource tracker.
TRACKER = ("from multiprocessing.resource_tracker import main", b"from multiprocessing.resource_tracker import main")
# How it starts its fork server, and what says to the launcher that this is no program of the test's: it goes with the test, and is not
# told as left behind.
SERVER = ("from multiprocessing.forkserver import main", b"from multiprocessing.forkserver import main")
HELPER = "~"
# What a file action opens that is not to succeed.
NO_FILE = "/proc/self/there-is-no-such-file"


class Gate:
    """What stands in for Python's functions that start programs."""

    def __init__(self, program, fd, library, leaves):
        self.pid = os.getpid()
        self.leaves = leaves
        # Whether this thread starts a program without a pipe.
        self.piped = threading.local()
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
        leaf = self.leaf_for(arguments)
        return [self.program, b"%d" % errors, b"%d:%s" % (sock, leaf.encode()), *steps, b"%d" % len(programs), *programs, *arguments]

    def leaf_for(self, arguments):
        """Whose memory a program with these arguments is."""
        if is_tracker(arguments):
            return NOBODYS
        return self.leaves.target() + (HELPER if has_statement(arguments, SERVER) else "")

    def fork_exec(self, *given, **named):
        """`_posixsubprocess.fork_exec`: subprocess, os.popen, asyncio, multiprocessing's spawn and forkserver."""
        call = list(given)
        call[1:2] = [(self.program,)] * len(call[1:2])
        if len(given) != self.count or named:
            return self.real["fork_exec"](*call, **named)
        arguments, programs, keep = (given[self.at[name]] for name in ("args", "executable_list", "pass_fds"))
        numbers = {given[self.at[name]] for name in STREAMS if isinstance(given[self.at[name]], int)}
        errors = lent = -1
        try:
            self.as_student(call)
            if self.quick:
                pid = self.start_quickly(call, given)
                if pid is not None:
                    return pid
            # Wrong ones are C's to refuse, and it looks at them before it looks at programs and arguments.
            if ascending(keep):
                # The pipe for a failed exec is close-on-exec, and has to outlive the gate's: a second one does. Where there is
                # no room for it that one itself has to, which programs that other threads start meanwhile may see.
                pipe = given[self.at["errpipe_write"]]
                try:
                    errors = duplicate(pipe, numbers.union(keep))
                except OSError as error:
                    if error.errno != errno.EMFILE:
                        raise
                    os.set_inheritable(pipe, True)
                    lent = pipe
                call[self.at["pass_fds"]] = tuple(sorted({*keep, self.fd} | ({errors} - {-1})))
                told = errors if lent < 0 else lent
                call[self.at["args"]] = self.words(told, self.fd, as_programs(programs), as_arguments(arguments))
                call[self.at["env"]] = hide_list(given[self.at["env"]])
            return self.real["fork_exec"](*call)
        finally:
            close(errors)
            if lent >= 0:
                os.set_inheritable(lent, False)

    def start_quickly(self, call, given):
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
        # The pipe for a failed exec as it is, so that no descriptor is needed that CPython does not need: the child lets it
        # outlive the gate's exec, and the gate closes it with the next.
        errors = values["errpipe_write"]
        words = self.words(errors, self.fd, programs, arguments, [steps + b"," + FOLDER, folder] if folder else [steps])
        user, group = ostest_apart.student or (-1, -1)
        pid, error = self.quick(self.program, words, env, sorted({*kept, errors, self.fd}), user, group)
        if error:
            # As C's child says it, whom subprocess waits for then.
            os.write(errors, b"OSError:%x:" % error)
        return pid

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
            reader, errors, sock = self.pipe_for(numbers, ours)
            if reader < 0:
                self.look_for(programs)
            self.piped.none = reader < 0
            call = [-1] * self.count
            for name, value in {
                "args": self.words(errors, sock, programs, argv),
                "executable_list": (self.program,),
                "close_fds": False,
                "pass_fds": (),
                "cwd": None,
                "env": hide_list(as_entries(env)),
                # C's child closes it, whatever it is; without a pipe the one that no child is to keep.
                "errpipe_read": self.leaves.socket.fileno() if reader < 0 else reader,
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
            if reader < 0:
                return pid
            # The end that is read comes when the gate has executed the program, or has ended.
            ours.remove(errors)
            close(errors)
            told = b"".join(iter(lambda: os.read(reader, 4096), b""))
        finally:
            self.piped.none = False
            close(*ours)
        if told:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass
            raise as_error(told, self.program)
        return pid

    def pipe_for(self, numbers, ours):
        """Both ends of a pipe for what the gate has to tell, and the gate's socket; what the caller has to close is put into `ours`.

        Numbers that the caller's actions name are theirs: what they close or overwrite must not be the gate's. Where there
        is no room there is no pipe: C's function needs none.
        """
        try:
            ours += os.pipe()
            if ours[1] in numbers or ours[1] < 3:
                ours.append(duplicate(ours[1], numbers))
                close(ours.pop(1))
            if self.fd in numbers:
                ours.append(duplicate(self.fd, numbers))
            return (*ours, self.fd)[:3]
        except OSError as error:
            if error.errno != errno.EMFILE or self.fd in numbers:
                raise
            while ours:
                close(ours.pop())
            return -1, -1, self.fd

    def look_for(self, programs):
        """Raises what comes of executing one of these, as far as it can be told before: of the rest a gate that can tell nobody
        says as any posix_spawn may say it, by ending with 127."""
        first = None
        for program in programs:
            try:
                if stat.S_ISREG(os.stat(program).st_mode) and os.access(program, os.X_OK, effective_ids=True):
                    return
                code = errno.EACCES
            except OSError as error:
                code = error.errno
            if first in (None, errno.ENOENT, errno.ENOTDIR):
                first = code
        raise OSError(first, os.strerror(first), self.program)

    def refuse(self, real, argv, env, actions, named):
        """Has C look at everything, and the kernel at all but the caller's actions, which must be done once and not twice.

        The first of the actions cannot be done, so that nothing is executed and no other action done.
        """
        if isinstance(actions, list):
            named = dict(named, file_actions=[(os.POSIX_SPAWN_OPEN, 0, NO_FILE, os.O_RDONLY, 0), *actions])
        try:
            pid = real(self.program, argv, env, **named)
        except OSError as error:
            # Where there is no room the kernel does not even look for the file.
            if error.errno in (errno.ENOENT, errno.EMFILE):
                return
            raise
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

    def enter(self, leaf=None):
        """Puts this process, a forked child, into this leaf, or the current one, before it executes a program.

        The gate could not do it: whoever calls exec goes on after one that failed, to the next folder of PATH for example,
        and from the gate there is no way back. Pytest itself is never placed. One that replaces itself by another
        program has ended without the end of its test, which is not passed, and is counted where pytest was.
        """
        pid = os.getpid()
        if pid == self.pid or pid == self.placed:
            return
        try:
            reader, writer = two_ends()
            try:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer if writer >= 0 else reader]))]
                self.socket.sendmsg([(leaf or self.leaves.target()).encode()], rights, socket.MSG_NOSIGNAL)
                close(writer)
                writer = -1
                answer = os.read(reader, 8)
            finally:
                close(reader, writer)
        except OSError as error:
            raise Uncounted(errno.EPERM, UNCOUNTED + str(error)) from None
        if answer[:1] != PLACED:
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


def is_tracker(arguments):
    """Whether multiprocessing starts its resource tracker, which is one for all of a process's life: not the test's in which
    it happens to be needed first, at whose end it would go. `ostest_multi` puts a statement before these words."""
    return has_statement(arguments, TRACKER)


def has_statement(arguments, statement):
    return any(isinstance(word, type(start)) and start in word for word in arguments for start in statement)


def two_ends():
    """The ends of a pipe for one answer; where there is room for one descriptor alone an eventfd, which is both, and -1."""
    try:
        return os.pipe()
    except OSError as error:
        if error.errno != errno.EMFILE or not hasattr(os, "eventfd"):
            raise
        return os.eventfd(0, os.EFD_CLOEXEC), -1


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


def install(program, gate_fd, leaves_fd, library=""):
    """Puts the gate between Python and every program that it starts. Gives the leaves.

    Raises Unfit, before anything was changed, where that cannot be done.
    """
    leaves = Leaves(leaves_fd)
    gate = Gate(program, gate_fd, library, leaves)
    gate.stand_in()
    leaves.gate = gate

    def after_fork():
        if not getattr(gate.piped, "none", False):
            leaves.close_in_child()
        gate.guard_in_child()

    os.register_at_fork(after_in_child=after_fork)
    return leaves
