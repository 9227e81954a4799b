"""Lets multiprocessing's `spawn` and `forkserver` work with targets in hidden modules.

Such a child is a Python of its own and a student's process: it cannot read the module in which its target is. So it is given the text
of the hidden modules that pytest has loaded, with the data by which multiprocessing prepares it. No other process of a student's may read
that from it. It is not dumpable from its first moment on: that is so where a process executes a program while its effective group is not its
real one (fs/exec.c, begin_new_exec), and so it begins with a group that nothing belongs to, and has given that up, if the kernel has
not taken it already, before it reads the texts. Its /proc entries belong to root, nobody of its user can trace it, and what it forks is the
same. Pytest looks whether it is so before it says anything. In the child nothing is loaded that a student could have written, as in pytest
(ostest_guard.py): it has these texts. What it has to say of that comes through a pipe.

Where the interpreter needs a library that the linker finds for it by a path of its own, which it does not do for such a process, a
child is started as ever, and is given nothing.

Standard library only, Python 3.9 and later.
"""

import functools
import os
import signal
import socket
import struct
import sys
import threading
import warnings

import ostest_apart
import ostest_guard
import ostest_imported
import ostest_stand
import ostest_tracing
import ostest_trust
from ostest_fds import close
from ostest_gate import is_tracker
from ostest_trust import is_trusted

# What the linker takes out of the environment of such a process, and others want to have.
TAKEN = ("GCONV_PATH", "GETCONF_DIR", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH", "NLSPATH", "RES_OPTIONS", "RESOLV_HOST_CONF", "TMPDIR", "TZDIR")

# In the child, before anything else of its data is used. `parts` are the texts of modules of the harness.
INSTALL = """
import importlib.machinery, io, os, sys, types
os.setresgid(*[os.getgid()] * 3)
os.environ.update(names)
loader = importlib.machinery.SourceFileLoader
read, read_code = loader.get_data, io.open_code
def get_data(self, path):
    return texts[path] if path in texts else read(self, path)
def open_code(path):
    return io.BytesIO(texts[path]) if path in texts else read_code(path)
loader.get_data, io.open_code = get_data, open_code
for name, text in parts:
    sys.modules[name] = types.ModuleType(name)
    exec(text, sys.modules[name].__dict__)
sys.modules["ostest_guard"].install_in_child(writer, texts, allowed)
"""
# Each after those that it imports.
PARTS = (ostest_trust, ostest_imported, ostest_stand, ostest_tracing, ostest_guard)
# In front of what the child executes first: the working directory is no place to find modules in.
FIRST = "import sys; sys.path[:1] = [path for path in sys.path[:1] if path]; "


class Given:
    """What the child makes of this when it reads it: the modules."""

    def __init__(self, **names):
        self.names = names

    def __reduce__(self):
        return exec, (INSTALL, self.names)


class Multi:
    def __init__(self, gate, group, allowed, writer):
        self.gate, self.group, self.allowed, self.writer = gate, group, allowed, writer
        self.parts = None
        self.pid = os.getpid()
        self.thread = threading.local()

    def mine(self):
        return os.getpid() == self.pid and ostest_apart.student is not None

    def follow_util(self, module):
        real = module.spawnv_passfds

        def spawnv_passfds(path, args, passfds):
            if not self.mine() or not plain_interpreter():
                return real(path, args, passfds)
            args = list(args)
            for flag in ("-c", b"-c"):
                if flag in args[1:-1]:
                    at = args.index(flag, 1) + 1
                    args[at] = FIRST + os.fsdecode(args[at])
            if not is_tracker(args):
                passfds = {*map(int, passfds), self.writer}
            return self.start(os.fsencode(path), args, passfds)

        module.spawnv_passfds = spawnv_passfds

    def follow_spawn(self, module):
        real = module.get_preparation_data

        def get_preparation_data(name):
            data = real(name)
            # This one stands in the command line of a server, for all to see.
            if name != "ignore" and self.mine() and plain_interpreter():
                names = {name: value for name, value in os.environ.items() if name in TAKEN or name.startswith(("LD_", "MALLOC_"))}
                given = Given(
                    texts=self.texts(), names=names, parts=self.own_texts(), writer=self.writer, allowed=list(self.allowed)
                )
                # First of all data.
                data = {"ostest": given, **data}
            return data

        module.get_preparation_data = get_preparation_data

    def follow_forkserver(self, module):
        real = module.ForkServer.connect_to_new_process
        send = module.reduction.sendfds

        def connect_to_new_process(server, fds):
            self.thread.connecting = self.mine()
            try:
                return real(server, fds)
            finally:
                self.thread.connecting = False

        def sendfds(sock, fds):
            # The socket's path lies where a student could put another one. This process itself has begun to listen on it.
            if getattr(self.thread, "connecting", False):
                peer, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                if peer != self.pid:
                    raise OSError("the fork server's socket is not its own: somebody has put another in its place")
            return send(sock, fds)

        module.ForkServer.connect_to_new_process = connect_to_new_process
        module.reduction.sendfds = sendfds

    def own_texts(self):
        if self.parts is None:
            self.parts = []
            for module in PARTS:
                with open(module.__file__, encoding="utf-8") as file:
                    self.parts.append((module.__name__, file.read()))
        return self.parts

    def texts(self):
        """The hidden modules of the suite that have been loaded, by their paths."""
        texts = {}
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            try:
                if isinstance(path, str) and path.endswith(".py") and os.stat(path).st_gid == self.group and is_trusted(path):
                    with open(path, "rb") as file:
                        texts[path] = file.read()
            except (OSError, ValueError):
                pass
        return texts

    def start(self, program, args, passfds):
        reader, writer = os.pipe()
        try:
            call = [-1] * self.gate.count
            for name, value in {
                "args": args,
                "executable_list": [program],
                "close_fds": True,
                "pass_fds": tuple(sorted(map(int, passfds))),
                "cwd": None,
                "env": None,
                "errpipe_read": reader,
                "errpipe_write": writer,
                "restore_signals": False,
                "call_setsid": False,
                "gid": None,
                "extra_groups": None,
                "uid": None,
                "preexec_fn": functools.partial(self.enter, self.gate.leaf_for(args)),
                "allow_vfork": False,
            }.items():
                if name in self.gate.at:
                    call[self.gate.at[name]] = value
            # Of threads that are forked with the rest Python warns, and multiprocessing does not.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = self.gate.real["fork_exec"](*call)
            close(writer)
            writer = -1
            # The end comes with the exec, or with the child's.
            failed = os.read(reader, 1)
            if not failed and readable(pid):
                os.kill(pid, signal.SIGKILL)
                raise OSError("a child of multiprocessing could be read by the submission's programs, and was ended")
            return pid
        finally:
            close(reader, writer)

    def enter(self, leaf):
        """In the child: the student, but for an effective group that the exec takes away."""
        self.gate.enter(leaf)
        ostest_apart.KERNEL["setresgid"](-1, self.group + 1, -1)


def readable(pid):
    """Whether a process of a student's can look into this one."""
    try:
        return os.stat("/proc/%d/fd" % pid).st_uid != 0
    except FileNotFoundError:
        return False


def plain_interpreter():
    """Whether Python starts without a library that the linker looks for beside the program, or where the environment says."""
    global plain
    if plain is None:
        try:
            with open("/proc/sys/fs/suid_dumpable") as file:
                if file.read().strip() == "1":
                    plain = False
                    return plain
            with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
                places = {line.split(None, 5)[5].strip() for line in file if "/libpython" in line}
            plain = all(place.startswith(("/usr/lib/", "/lib/")) for place in places)
            if not plain and "LD_LIBRARY_PATH" not in os.environ:
                with open(os.path.realpath(sys.executable), "rb") as file:
                    plain = b"ORIGIN" not in file.read()
        except OSError:
            plain = False
    return plain


plain = None


def install(imported, gate, allowed, writer):
    multi = Multi(gate, ostest_apart.group, allowed, writer)
    imported.after("multiprocessing.util", multi.follow_util)
    imported.after("multiprocessing.spawn", multi.follow_spawn)
    imported.after("multiprocessing.forkserver", multi.follow_forkserver)
