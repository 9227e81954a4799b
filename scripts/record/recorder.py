"""Runs a command and notes which program makes which system call.

    recorder.py POLICY NOTES [--sandbox] -- COMMAND...

The kernel tells by seccomp's user notification: a filter stops every call until this program has noted it. strace cannot
stand here: what it traces nobody else can trace, and gdb, ltrace, strace and LeakSanitizer are among the programs that have to be
watched. Nothing is lost, as it would be in the ring of a tracer that does not stop anybody.

A note is a line: the call, with those arguments that policies look at, a tab, the program. What POLICY refuses whatever the
arguments are is answered as the policy answers it, since programs then go another way, which they must find open: clone, where
clone3 is not there. Everything else goes on, also what the policy does not have: that is what is to be found.

COMMAND runs as nobody, with no privileges, where this is run by root. With --sandbox it is one that makes sandboxes, and keeps
root; notes are then taken only of what runs under a sandbox's own filters: pid 1 and the processes of the test stage, each to its own
file (NOTES.init, NOTES.test).
"""

import ctypes
import errno
import fcntl
import json
import os
import pathlib
import platform
import re
import select
import signal
import struct
import subprocess
import sys
import time

POLICIES = pathlib.Path(__file__).resolve().parents[2] / "policies"
NOBODY = 65534

# include/uapi/linux/seccomp.h
SET_MODE_FILTER = 1
NEW_LISTENER = 1 << 3
WAIT_KILLABLE_RECV = 1 << 5
RET_USER_NOTIF, RET_ALLOW = 0x7FC00000, 0x7FFF0000
NOTIF_RECV, NOTIF_SEND, NOTIF_SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082104
SYNC_WAKE_UP = 1
FLAG_CONTINUE = 1
NOTIF = struct.Struct("=QIIiIQ6Q")
RESPONSE = struct.Struct("=QqiI")
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 38, 36
# Seconds without a call after which what outlives the command is killed.
PATIENCE = 5
# Programs that a policy becomes (confine/seccomp.rs): the guard, the allow-list, EPERM, and EAFNOSUPPORT in stages.
FILTERS_OF_INIT, FILTERS_OF_TEST = 3, 4

# What the policies look at: of each argument the bits that count. A test holds this against the policies.
ARGUMENTS = {
    "clone": {0: 0xFFFFFFFF},
    "ioctl": {1: 0xFFFFFFFF},
    "madvise": {2: 0xFFFFFFFF},
    "mincore": {1: 0xFFFFFFFF << 32},
    "mknod": {1: 0o170000},
    "mknodat": {2: 0o170000},
    "personality": {0: 0xFFFFFFFF},
    "prctl": {0: 0xFFFFFFFF, 1: 0xFFFFFFFF},
    "seccomp": {0: 0xFFFFFFFF, 1: 0xFFFFFFFF},
    "setsockopt": {1: 0xFFFFFFFF, 2: 0xFFFFFFFF},
    "socket": {0: 0xFFFFFFFF, 1: 0xF, 2: 0xFFFFFFFF},
    "socketpair": {0: 0xFFFFFFFF},
}
# The policy of pid 1 looks at more.
ARGUMENTS_OF_INIT = ARGUMENTS | {"openat": {2: 0o1103}, "mmap": {2: 4}, "mprotect": {2: 4}}

libc = ctypes.CDLL(None, use_errno=True)


def call_numbers():
    """Names by number, as this machine's kernel headers have them."""
    text = subprocess.run(
        ["cc", "-E", "-dM", "-include", "asm/unistd.h", "-x", "c", "/dev/null"], check=True, capture_output=True, text=True
    ).stdout
    found = re.findall(r"^#define __NR_(\w+) (\d+)$", text, re.M)
    return {int(number): name for name, number in found}


def refusals(policy):
    """What a policy and those that it includes refuse whatever the arguments are: error number by name."""
    written = json.loads((POLICIES / f"{policy}.json").read_text())
    found = {}
    for include in written.get("include", []):
        found |= refusals(include)
    for rule in written.get("refuse", []):
        if "args" not in rule:
            found |= {name: getattr(errno, rule["errno"]) for name in rule["syscalls"]}
    return found


def program_of(pid):
    """The program that a process runs, without what versions and machines add to its file's name."""
    path = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    name = os.path.basename(path).removeprefix("memfd:")
    name = re.sub(r"^(x86_64|aarch64)-linux-(gnu|musl)-", "", name)
    name = re.sub(r"-(amd64|arm64)-linux$", "", name)
    return re.sub(r"(?<=[a-z+])-\d+(\.\d+)*$", "", re.sub(r"^python3\.\d+$", "python3", name))


def text_of(name, args, looked_at):
    """A call as it is noted: `socket(0x1,0x2,0x0)`, or `ioctl(_,0x5401)`, where nobody looks at the first argument."""
    bits = looked_at.get(name)
    if bits is None:
        return name
    shown = [f"{args[i] & bits[i]:#x}" if i in bits else "_" for i in range(max(bits) + 1)]
    return f"{name}({','.join(shown)})"


class SandboxOf:
    """Whose notes a process of a sandbox belongs to: `init`, `test`, or None for nobody's; an empty string where it is too early to
    say."""

    def __init__(self):
        self.tests = set()
        # Whoever makes a sandbox has only the recorder's own filter.
        self.outside = self.filters("self") + 1

    @staticmethod
    def filters(pid):
        return int(re.search(r"^Seccomp_filters:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1])

    def __call__(self, pid):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        filters = int(re.search(r"^Seccomp_filters:\s+(\d+)", status, re.M)[1]) - self.outside
        # As many as the policy has, or they are still being put on, and what is seen is the sandbox's making.
        if re.search(r"^NStgid:.*\s1$", status, re.M):
            return "init" if filters >= FILTERS_OF_INIT else ""
        if filters < FILTERS_OF_TEST:
            return ""
        space = os.readlink(f"/proc/{pid}/ns/pid")
        if space not in self.tests and b"OSTEST_PROJECT=" in pathlib.Path(f"/proc/{pid}/environ").read_bytes():
            self.tests.add(space)
        return "test" if space in self.tests else None


def become_watched(command, sandbox):
    """The child: puts the filter on, and becomes the command."""
    arch = AUDIT_ARCH[platform.machine()]
    instructions = [(0x20, 0, 0, 4), (0x15, 0, 1, arch), (0x06, 0, 0, RET_USER_NOTIF), (0x06, 0, 0, RET_ALLOW)]
    packed = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *i) for i in instructions))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(instructions), ctypes.addressof(packed)))
    if not sandbox:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    number = 277 if platform.machine() == "aarch64" else 317
    libc.syscall(number, SET_MODE_FILTER, NEW_LISTENER | WAIT_KILLABLE_RECV, program)
    # From here on every call waits for the parent, which has found the listener among this process's descriptors.
    os.execvp(command[0], command)


def listener_of(child):
    """The descriptor on which the kernel tells of the child's calls."""
    pidfd = os.pidfd_open(child)
    for _ in range(1000):
        for entry in os.scandir(f"/proc/{child}/fd"):
            if os.readlink(entry.path) == "anon_inode:seccomp notify":
                # pidfd_getfd has the same number everywhere.
                taken = libc.syscall(438, pidfd, int(entry.name), 0)
                if taken >= 0:
                    return taken
        time.sleep(0.01)
    sys.exit("recorder.py: the filter could not be put on; it needs Linux 5.19 and seccomp's user notification")


def left_behind():
    """The children that this process has taken over."""
    with open("/proc/thread-self/children", encoding="ascii") as children:
        return [int(pid) for pid in children.read().split()]


def watch(listener, child, refused, numbers, looked_at, note):
    """Answers every call until nobody is left who could make one. What outlives the command and does nothing is killed."""
    try:
        fcntl.ioctl(listener, NOTIF_SET_FLAGS, SYNC_WAKE_UP)
    except OSError:
        pass  # It only makes things faster, where the kernel has it.
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        events = poll.poll(PATIENCE * 1000)
        if not events:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                for pid in left_behind():
                    if pid != child:
                        os.kill(pid, signal.SIGKILL)
            continue
        if events[0][1] & select.POLLHUP:
            return
        asked = bytearray(NOTIF.size)
        try:
            fcntl.ioctl(listener, NOTIF_RECV, asked)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                continue  # It was killed before it was heard.
            raise
        ident, pid, _, number, _, _, *args = NOTIF.unpack(asked)
        name = numbers.get(number, f"number{number}")
        note(pid, text_of(name, args, looked_at))
        wrong = refused.get(name, 0)
        answer = RESPONSE.pack(ident, 0, -wrong, 0 if wrong else FLAG_CONTINUE)
        try:
            fcntl.ioctl(listener, NOTIF_SEND, answer)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


def main():
    before, command = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    policy, notes, *flags = before
    sandbox = flags == ["--sandbox"]
    numbers, refused = call_numbers(), {} if sandbox else refusals(policy)
    looked_at = ARGUMENTS_OF_INIT if sandbox else ARGUMENTS
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        become_watched(command, sandbox)
    # Ctrl-C is the command's; this program has to go on answering until the command has ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    seen, sandbox_of = set(), SandboxOf() if sandbox else None
    itself = os.readlink("/proc/self/exe")

    # By thread. Forgotten whenever anybody starts a program, so that no number means somebody who has gone.
    known = {}

    def note(pid, text):
        try:
            if pid not in known:
                if pid == child and os.readlink(f"/proc/{pid}/exe") == itself:
                    return  # On its way to becoming the command.
                whose = sandbox_of(pid) if sandbox else "notes"
                if whose == "":
                    return  # It has not put its filters on yet.
                known[pid] = (whose, program_of(pid))
            whose, program = known[pid]
            if whose is not None:
                seen.add((whose, text, program))
            if text.startswith("exec"):
                known.clear()
            elif text in ("exit", "exit_group"):
                del known[pid]
        except (FileNotFoundError, ProcessLookupError):
            pass  # It was killed while it waited.

    watch(listener_of(child), child, refused, numbers, looked_at, note)
    for whose, text, program in sorted(seen):
        if whose != "init" and text.partition("(")[0] in ("openat", "mmap", "mprotect"):
            text = text.partition("(")[0]
        with open(f"{notes}.{whose}" if sandbox else notes, "a", encoding="utf-8") as file:
            file.write(f"{text}\t{program}\n")
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.exit(ended if ended >= 0 else 128 - ended)


if __name__ == "__main__":
    main()
