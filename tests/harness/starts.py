"""Every way in which a suite starts programs. Run with the gate and without it: what is seen has to be the same.

Each case returns what a suite could see of the program it started; what an exception says is seen too. `PIDS` takes the
processes in which programs ran: with the gate the launcher has to have placed each, and no other.
"""

import asyncio
import copy
import errno
import fcntl
import gc
import inspect
import json
import multiprocessing
import os
import pickle
import pty
import re
import resource
import signal
import subprocess
import sys
import threading
from subprocess import PIPE, STDOUT, DEVNULL, Popen

import pytest

# Whoever is started in the background (nohup, `&` of a script) is started deaf to it, and so would all programs be from here.
signal.signal(signal.SIGINT, signal.default_int_handler)

CASES, PIDS, SEEN = {}, [], {}
SIGNALS = "/^Sig(Blk|Ign)/p"


def case(function):
    CASES[function.__name__] = function
    return function


def tried(function, *given, **named):
    try:
        return function(*given, **named)
    except Exception as error:
        return [type(error).__name__, getattr(error, "errno", None), repr(getattr(error, "filename", None)), str(error)]


def popen(*given, **named):
    started = Popen(*given, **named)
    PIDS.append(started.pid)
    return started


def ran(*given, feed=None, **named):
    """Exit status and both streams, or what refused it."""
    named = dict({"stdout": PIPE, "stderr": PIPE, "stdin": DEVNULL if feed is None else PIPE}, **named)

    def run():
        with popen(*given, **named) as started:
            out, err = started.communicate(feed, timeout=60)
        return [started.returncode, repr(out), repr(err)]

    return tried(run)


def program(path, text, mode=0o755):
    with open(path, "wb") as file:
        file.write(text)
    os.chmod(path, mode)
    return str(path)


def ended(pid, counted=True):
    if counted:
        PIDS.append(pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def forked(body, counted=True):
    """What a forked child wrote and how it ended; `body` is called in it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(writer, 1)
            text = repr(tried(body))
            os.write(1, text.encode())
        finally:
            os._exit(99)
    os.close(writer)
    with open(reader, "rb") as file:
        text = file.read()
    return [text.decode(), ended(pid, counted)]


@case
def exit_statuses(tmp):
    return [ran(["sh", "-c", word]) for word in ("exit 0", "exit 3", "kill -9 $$", "kill -TERM $$")]


@case
def what_cannot_be_executed(tmp):
    bad = program(tmp / "bad-format", b"\x01\x02 no program")
    empty = program(tmp / "empty", b"")
    closed = program(tmp / "closed", b"#!/bin/sh\n", 0o644)
    orphan = program(tmp / "orphan", b"#!/no/such/interpreter\n")
    lines = program(tmp / "lines", b"echo no interpreter $1\n")
    busy = program(tmp / "busy", open("/bin/true", "rb").read())
    under_file = str(tmp / "closed" / "x")
    words = [bad, empty, closed, orphan, lines, str(tmp), under_file, "/no/such", "no-such-program", "./no-such", "", "a" * 300]
    seen = [[ran([word, "x"]), ran(word), ran([word], shell=True)] for word in words]
    with open(busy, "r+b"):
        seen.append(ran([busy]))
    return seen + [ran(["true", "x" * 200000]), ran(["/bin/true"] * 200000)]


@case
def search_along_path(tmp):
    for folder, mode in (("one", 0o644), ("two", 0o755)):
        os.mkdir(tmp / folder)
        program(tmp / folder / "found", b"#!/bin/sh\necho found in $0 as $1\n", mode)
        program(tmp / folder / "closed", b"#!/bin/sh\n", 0o644)
    program(tmp / "one" / "both", b"\x01 no program")
    program(tmp / "two" / "both", b"#!/bin/sh\necho both\n")
    path = "%s:%s:/no/such:%s" % (tmp / "one", tmp / "two", os.environ["PATH"])
    names = ("found", "closed", "both", "neither")
    env = dict(os.environ, PATH=path)
    seen = [ran([name, "arg"], env=env) for name in names]
    seen.append(ran(["found"], env={}))
    os.environ["PATH"] = path
    seen += [ran([name, "arg"]) for name in names]
    seen += [spawned(os.posix_spawnp, name, [name], env) for name in ("found", "closed", "neither", "")]
    seen += [forked(lambda: os.execvp(name, [name])) for name in ("found", "closed", "both", "neither")]
    seen += [forked(lambda: os.execlpe("found", "found", "x", {"PATH": path})), ran(["true"], env={"PATH": ""})]
    return seen


@case
def shebang_scripts(tmp):
    script = program(tmp / "script", b'#!/bin/sh -e\necho "$0" "$1"; exit 4\n')
    os.symlink(script, tmp / "link")
    return [ran([script, "a b"]), ran([str(tmp / "link")]), ran(["./script"], cwd=tmp), ran(["other"], executable=script)]


@case
def arguments_of_popen(tmp):
    show = "printf '[%s]' \"$0\" \"$@\""
    return [
        ran(["sh", "-c", show, "zero", "", " ", "*", "é", "\udcff", "-n", "--"]),
        ran([b"sh", "-c", show, b"\xff"]),
        ran([tmp.__class__("/bin/echo"), "path"]),
        ran("echo one; echo two", shell=True),
        ran(["echo $0 $1", "zero", "one"], shell=True),
        ran("echo $0", shell=True, executable="/bin/bash"),
        ran(["name", "-c", "tr '\\0' ' ' < /proc/$$/cmdline"], executable="/bin/sh"),
        ran([sys.executable, "-c", "import sys; print(sys.argv, sys.orig_argv[0] if hasattr(sys, 'orig_argv') else '')", "a"]),
        tried(Popen, []),
        tried(Popen, [1]),
        tried(Popen, ["a\0b"]),
        tried(Popen, [None]),
        ran(["true"], executable="tr\0ue"),
        tried(Popen, ["true"], pass_fds=(-1,)),
        tried(Popen, ["true"], pass_fds=("x",)),
        tried(Popen, ["true"], pass_fds=(40, 40, 900)),
        tried(Popen, ["true"], stdin=900),
        tried(Popen, ["true"], bufsize="x"),
        ran(["cat", "/proc/self/comm"]),
    ]


@case
def environments(tmp):
    sort = ["sh", "-c", "tr '\\0' '\\n' < /proc/self/environ | LC_ALL=C sort"]
    os.environ["OF_THE_SUITE"] = "é\udcff"
    return [
        ran(sort, env={"A": "1", "B=": "2"}),
        ran(["/bin/sh", *sort[1:]], env={"PATH": os.environ["PATH"], "A": "", "B": "a=b\n", b"C": b"\xff"}),
        ran(["/usr/bin/env"], env={}),
        ran(sort),
        tried(Popen, ["true"], env={"A": 1}),
        tried(Popen, ["true"], env={"A\0": "1"}),
        # What is said to the dynamic linker is said to the program, and once.
        ran(["/bin/true"], env={"LD_PRELOAD": "/no/such.so"}),
        ran(["/bin/true"], env={"LD_TRACE_LOADED_OBJECTS": "1"})[0],
    ]


@case
def working_directories(tmp):
    program(tmp / "here", b"#!/bin/sh\necho here\n")
    (tmp / "file").write_text("")
    return [ran(["pwd"], cwd=cwd) for cwd in (tmp, str(tmp), os.fsencode(tmp), "/no/such", tmp / "file", "a\0")] + [
        ran(["./here"], cwd=tmp),
        ran(["here"], cwd=tmp),
        ran(["./no-such"], cwd=tmp),
    ]


@case
def descriptors(tmp):
    seen = []
    keep, lose = os.open("/dev/null", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)
    fds = [fcntl.fcntl(fd, fcntl.F_DUPFD, number) for fd, number in ((keep, 20), (lose, 30))]
    show = ["sh", "-c", "ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) ->.*/\\1/p'; test -e /proc/self/fd/20 && readlink /proc/self/fd/20"]
    for named in ({}, {"pass_fds": (20,)}, {"pass_fds": (30, 20)}, {"close_fds": False}, {"close_fds": False, "pass_fds": (20,)}):
        seen.append([ran(show, **named), ran(show, preexec_fn=lambda: None, **named)])
    for fd in (*fds, keep, lose):
        os.close(fd)
    return seen + [ran(show, pass_fds=(20,)), ran(show, pass_fds=(48, 49, 50, 51, 52, 53, 54))]


@case
def standard_streams(tmp):
    reader, writer = os.pipe()
    (tmp / "in").write_text("from a file")
    with open(tmp / "in") as file, open(tmp / "out", "wb") as out:
        seen = [
            ran(["cat"], stdin=file),
            ran(["cat"], feed=b"from a pipe" * 20000)[2],
            ran("echo out; echo err >&2", shell=True, stderr=STDOUT),
            ran("echo out; echo err >&2", shell=True, stdout=out),
            ran("echo out; echo err >&2", shell=True, stdout=2, stderr=DEVNULL),
            ran("echo out >&3", shell=True, stdout=writer, preexec_fn=lambda: os.dup2(1, 3)),
            ran(["cat"], preexec_fn=lambda: os.close(0)),
            ran("echo x", shell=True, preexec_fn=lambda: os.close(1)),
            ran("readlink /proc/self/fd/0 /proc/self/fd/2", shell=True, stdin=None, stderr=None)[0],
        ]
    os.close(writer)
    os.close(reader)
    kept = [os.dup(fd) for fd in (0, 1)]
    os.close(0)
    try:
        seen.append(ran(["cat"], stdin=None))
        os.close(1)
        seen.append(ran(["sh", "-c", "echo out; echo err >&2"]))
    finally:
        for fd in (0, 1):
            os.dup2(kept[fd], fd)
            os.close(kept[fd])
    return seen + [(tmp / "out").read_text()]


@case
def children_set_up_otherwise(tmp):
    own = "import os; print(os.getpid() == os.getsid(0), os.getpid() == os.getpgrp(), oct(os.umask(0)), os.getresuid(), os.getresgid(), os.getgroups())"
    command = [sys.executable, "-SEc", own]
    options = [{}, {"start_new_session": True}, {"umask": 0o27}, {"user": 65534}, {"group": 65534}, {"user": "nobody", "group": "nogroup"}]
    options += [{"extra_groups": [65534]}, {"extra_groups": []}, {"user": 65534, "group": 65534, "extra_groups": [1]}]
    options += [{"user": "no-such-user"}, {"user": -5}, {"umask": "x"}, {"extra_groups": ["no-such-group"]}]
    if sys.version_info >= (3, 11):
        options += [{"process_group": 0}, {"process_group": -2}, {"process_group": 1}]
    # The interpreter of a virtual environment is not everybody's to execute.
    return [ran(["sh", "-c", "umask; id"], **named) if "user" in named else ran(command, **named) for named in options]


@case
def preexec(tmp):
    def fails():
        raise ValueError("no")

    def limit(kind, value):
        return lambda: resource.setrlimit(kind, (value, value))

    # This one never comes to the gate.
    out = [subprocess.run(["true"], preexec_fn=lambda: os._exit(7)).returncode]
    for function in (
        fails,
        lambda: os.closerange(3, 1000),
        lambda: os.execv("/bin/echo", ["echo", "instead"]),
        lambda: os.chdir("/usr"),
        lambda: os.setsid(),
        lambda: os.dup2(1, 9),
        limit(resource.RLIMIT_NOFILE, 8),
        # Room for one, which the dynamic linker needs.
        limit(resource.RLIMIT_NOFILE, 4),
        limit(resource.RLIMIT_FSIZE, 0),
        limit(resource.RLIMIT_CORE, 0),
        limit(resource.RLIMIT_STACK, 1 << 20),
    ):
        out.append(ran(["sh", "-c", "test $PWD = /usr && pwd; ulimit -n; ulimit -c; test $$ = $(cut -d' ' -f6 /proc/$$/stat) && echo leads"], preexec_fn=function))
    return out


@case
def few_descriptors(tmp):
    def with_free(count, start):
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            assert error.errno == errno.EMFILE
        for fd in taken[:count]:
            os.close(fd)
        try:
            return tried(start)
        finally:
            for fd in taken[count:]:
                os.close(fd)

    def runs(*given, **named):
        with popen(*given, **named) as started:
            return started.wait()

    def talks():
        with popen(["/bin/cat"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as started:
            return [repr(part) for part in started.communicate(b"said")]

    starts = [
        lambda: runs(["/bin/true"]),
        lambda: runs(["true"], close_fds=False),
        lambda: runs(["/bin/true"], preexec_fn=lambda: None),
        lambda: runs(["/bin/true"], preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))),
        lambda: runs(["/no/such"]),
        lambda: runs([str(tmp)]),
        talks,
        lambda: os.system("exit 3"),
        lambda: ended(os.posix_spawn("/bin/true", ["true"], {})),
        lambda: os.posix_spawn("/no/such", ["true"], {}),
        lambda: os.posix_spawn(str(tmp), ["true"], {}),
        lambda: os.spawnv(os.P_WAIT, "/bin/true", ["true"]),
    ]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    # What is imported at the first start takes one.
    runs(["/bin/true"])
    seen = []
    # Below the numbers that a harness could have for itself, and above.
    for limit in (32, 80):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
        try:
            seen += [[with_free(count, start) for count in range(10)] for start in starts]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    return seen


@case
def descriptors_of_a_childs_child(tmp):
    def child():
        # Whatever numbers became free in it are its own.
        own = [os.open("/dev/null", os.O_RDONLY) for _ in range(64)]
        pid = os.fork()
        if pid == 0:
            gone = [fd for fd in own if tried(os.fstat, fd)[0] == "OSError"]
            os._exit(len(gone))
        return ended(pid, False)

    seen = forked(child, False)
    assert seen == ["0", 99]
    return seen


@case
def signal_dispositions(tmp):
    show = ["sed", "-nE", SIGNALS, "/proc/self/status"]
    seen = [ran(show), ran(show, restore_signals=False), ran(show, restore_signals=False, preexec_fn=lambda: None)]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCHLD})
    old = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        seen += [ran(show), ran(show, preexec_fn=lambda: None), os.system("sed -nE '%s' /proc/self/status > %s/sig" % (SIGNALS, tmp))]
        seen += [(tmp / "sig").read_text(), spawned(os.posix_spawn, "/bin/sed", ["sed", *show[1:]], os.environ)]
    finally:
        signal.signal(signal.SIGUSR2, old)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    seen.append(forked(lambda: os.execvp("sed", show)))
    # A program whose reader has gone is ended by SIGPIPE.
    with popen(["sh", "-c", "yes; echo $? >&2"], stdout=PIPE, stderr=PIPE) as yes:
        yes.stdout.close()
        seen.append(yes.stderr.read().decode())
    return seen


@case
def signals_to_the_pid(tmp):
    seen = []
    for send in (Popen.terminate, Popen.kill, lambda p: p.send_signal(signal.SIGUSR1), lambda p: os.kill(p.pid, signal.SIGINT)):
        for named in ({}, {"shell": True}, {"start_new_session": True}):
            with popen("exec sleep 60" if "shell" in named else ["sleep", "60"], **named) as sleeping:
                seen.append(sleeping.poll())
                send(sleeping)
                seen.append(sleeping.wait(60))
    with popen(["sh", "-c", "trap 'echo caught; exit 6' TERM; echo ready; while :; do sleep 0.01; done"], stdout=PIPE) as trap:
        seen.append(trap.stdout.readline())
        trap.terminate()
        seen += [trap.stdout.read(), trap.wait(60)]
    with popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True) as group:
        os.killpg(group.pid, signal.SIGKILL)
        seen.append(group.wait(60))
    return repr(seen)


@case
def timeouts(tmp):
    with popen(["sleep", "60"], stdout=PIPE) as sleeping:
        seen = [tried(sleeping.wait, 0.01), tried(sleeping.communicate, timeout=0.01)]
        sleeping.kill()
    # How long it has waited is in the text.
    return seen + [tried(subprocess.run, ["sleep", "60"], timeout=0.05)[0], sleeping.returncode]


@case
def other_calls_of_subprocess(tmp):
    return [
        subprocess.call(["false"]),
        tried(subprocess.check_call, ["false"]),
        tried(subprocess.check_output, ["sh", "-c", "echo x; exit 2"]),
        subprocess.getstatusoutput("echo out; exit 3"),
        [stream.read() + str(stream.close()) for stream in (os.popen("echo popen; exit 5"), os.popen("true"))],
    ]


@case
def system(tmp):
    def status(command):
        return tried(os.system, command)

    out = tmp / "out"
    seen = [status("exit 3"), status("kill -9 $$"), status("kill -INT $$"), status("kill -QUIT $$"), status("no-such-program 2> /dev/null")]
    seen += [status(b"echo '%%s' \"a b\" $((1+2)) > %s" % os.fsencode(out)), out.read_text(), status(""), status("(exit 4)")]
    seen += [status(1), status("a\0b"), tried(os.system)[0], tried(os.system, "true", "true")[0], os.system(command="exit 2")]
    seen.append(status("ls -l /proc/self/fd | grep -c ' [0-9]* ->' > %s; cat < /dev/null" % out))
    seen.append(out.read_text())
    # SIGINT reaches the program and not the caller, SIGCHLD the caller afterwards.
    caught = []
    old = [signal.signal(number, lambda number, _: caught.append(number)) for number in (signal.SIGINT, signal.SIGCHLD)]
    seen += [status("kill -INT $PPID; exit 6"), caught, signal.getsignal(signal.SIGINT) is signal.SIG_DFL]
    signal.signal(signal.SIGINT, old[0])
    signal.signal(signal.SIGCHLD, old[1])

    def raises(number, frame):
        raise KeyError("raised by a handler")

    old = signal.signal(signal.SIGUSR1, raises)
    # Only when the program has ended.
    seen += [status("kill -USR1 $PPID; sleep 0.1; echo later > %s" % out), out.read_text()]
    signal.signal(signal.SIGUSR1, old)
    from_thread = threading.Thread(target=lambda: seen.append(status("exit 9")))
    from_thread.start()
    from_thread.join()
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    seen.append(status("exit 3"))
    signal.signal(signal.SIGCHLD, old)
    return seen


@case
def spawn_family(tmp):
    missing = str(tmp / "missing")
    return [
        os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", "exit 3"]),
        os.spawnlp(os.P_WAIT, "sh", "sh", "-c", "kill -9 $$"),
        os.spawnvpe(os.P_WAIT, "sh", ["sh", "-c", 'exit "$X"'], {"X": "8", "PATH": os.environ["PATH"]}),
        os.spawnle(os.P_WAIT, "/bin/sh", "sh", "-c", 'exit "$X"', {"X": "9"}),
        os.spawnv(os.P_WAIT, missing, ["x"]),
        os.spawnvp(os.P_WAIT, "no-such-program", ["x"]),
        ended(os.spawnv(os.P_NOWAIT, "/bin/sh", ["sh", "-c", "exit 4"])),
        tried(os.spawnv, os.P_WAIT, "/bin/sh", []),
        tried(os.spawnv, os.P_WAIT, "/bin/sh", "sh"),
    ]


def spawned(function, path, argv, env, **named):
    """What a program that posix_spawn started wrote to its standard output, and how it ended."""
    reader, writer = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1), *named.pop("file_actions", ())]

    def start():
        return ended(function(path, argv, env, file_actions=actions, **named))

    status = tried(start)
    os.close(writer)
    with open(reader, "rb") as file:
        return [status, repr(file.read())]


def spawned_with(actions):
    return ended(os.posix_spawn("/bin/sh", ["sh", "-c", "test -e /proc/self/fd/0"], {}, file_actions=actions))


@case
def posix_spawn(tmp):
    script = program(tmp / "script", b"#!/bin/sh\necho script $1 $X; exit 3\n")
    closed = program(tmp / "closed", b"#!/bin/sh\n", 0o644)
    bad = program(tmp / "bad", b"\x01 no program")
    orphan = program(tmp / "orphan", b"#!/no/such\n")
    spawn, env = os.posix_spawn, {"X": "x", "PATH": os.environ["PATH"]}
    seen = [spawned(spawn, path, ["zero", "one"], env) for path in (script, os.fsencode(script), tmp / "script", closed, bad, orphan)]
    seen += [spawned(spawn, path, ["zero"], env) for path in (str(tmp), "/no/such", "", "sh", script + "/x")]
    seen += [tried(spawn, *given) for given in ((), (script,), (script, []), (script, "x", env), (script, [], env), (script, [""], env))]
    seen += [tried(spawn, *given) for given in ((1, ["x"], env), (script, ["x", 1], env), (script, ["a\0"], env))]
    # Versions differ in the words for this.
    seen.append(tried(spawn, "a\0", ["x"], env)[0])
    seen += [tried(spawn, script, ["x"], bad_env) for bad_env in (1, {"A=": "x"}, {1: "x"}, [])]
    seen += [tried(spawn, script, ["x"], env, file_actions=actions) for actions in (1, "x", [1], [()], [(None,)], [(99,)], [(os.POSIX_SPAWN_CLOSE, "x")])]
    seen += [tried(spawn, script, ["x"], env, nothing=1), tried(spawn, script, ["x"], env, scheduler="x"), tried(spawn, script, ["x"], env, setsid=1, setpgroup=-1)]
    show = ["sh", "-c", "ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) ->.*/\\1/p'; cat"]
    (tmp / "in").write_text("in")
    opened = [(os.POSIX_SPAWN_OPEN, 0, str(tmp / "in"), os.O_RDONLY, 0)]
    more = [opened, [*opened, (os.POSIX_SPAWN_DUP2, 0, 7)], [(os.POSIX_SPAWN_CLOSE, 0)], [(os.POSIX_SPAWN_DUP2, 900, 1)]]
    more += [[*opened, *((os.POSIX_SPAWN_CLOSE, fd) for fd in range(3, 70))], [*opened, (os.POSIX_SPAWN_DUP2, 0, 50), (os.POSIX_SPAWN_DUP2, 0, 51)]]
    more.append([(os.POSIX_SPAWN_OPEN, 0, "/no/such", os.O_RDONLY, 0)])
    if hasattr(os, "POSIX_SPAWN_CLOSEFROM"):
        more += [[*opened, (os.POSIX_SPAWN_DUP2, 0, 9), (os.POSIX_SPAWN_CLOSEFROM, lowest)] for lowest in (3, 9, 10, 60, 0, -1)]
    seen += [spawned(spawn, "/bin/sh", show, env, file_actions=actions) for actions in more]
    own = [sys.executable, "-SEc", "import os; print(os.getpid() == os.getsid(0), os.getpid() == os.getpgrp())"]
    seen += [spawned(spawn, own[0], own, os.environ, **named) for named in ({"setpgroup": 0}, {"resetids": True}, {"setsid": True})]
    signals = ["sed", "-nE", SIGNALS, "/proc/self/status"]
    # Without the two that the C library keeps for itself: its posix_spawn leaves them ignored.
    said = spawned(spawn, "/bin/sed", signals, env, setsigmask=[signal.SIGUSR1], setsigdef=[signal.SIGPIPE])
    seen.append([said[0], re.sub(r"(?<=SigIgn:.t)0000000[01][08]", "0000000..", said[1])])
    seen += [spawned_with(actions) for actions in (None, iter([]), iter([(os.POSIX_SPAWN_CLOSE, 0)]))]
    # subprocess takes this way for a path where nothing is to be closed.
    return seen + [ran([script, "y"], close_fds=False, env=env), ran(["/no/such"], close_fds=False), ran([closed], close_fds=False)]


@case
def terminals(tmp):
    kept = os.dup(1)
    out = os.open(tmp / "out", os.O_RDWR | os.O_CREAT)
    os.dup2(out, 1)
    try:
        with open("/dev/null") as null:
            stdin = os.dup(0)
            os.dup2(null.fileno(), 0)
            status = pty.spawn(["sh", "-c", "test -t 1 && test -t 0 && echo terminal; exit 3"])
            os.dup2(stdin, 0)
            os.close(stdin)
    finally:
        os.dup2(kept, 1)
        os.close(out)
        os.close(kept)
    seen = [status, (tmp / "out").read_text()]
    for argv in (["sh", "-c", "test -t 0 && exit 5"], ["/no/such"]):
        pid, fd = pty.fork()
        if pid == 0:
            try:
                # As pexpect does it before it executes a program.
                os.closerange(3, 1000)
                os.execvp(argv[0], argv)
            except OSError as error:
                os._exit(error.errno)
        seen.append(ended(pid))
        os.close(fd)
    return seen


@case
def fork_and_exec(tmp):
    script = program(tmp / "script", b"#!/bin/sh\necho script $1 $X; exit 3\n")
    closed = program(tmp / "closed", b"#!/bin/sh\n", 0o644)
    bad = program(tmp / "bad", b"\x01 no program")
    orphan = program(tmp / "orphan", b"#!/no/such\n")
    env = {"X": "x", "PATH": os.environ["PATH"]}

    def cleared(close):
        def body():
            close()
            os.execv("/bin/sh", ["sh", "-c", "ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) ->.*/\\1/p'"])

        return body

    def one_by_one():
        refused = 0
        for fd in range(3, 100):
            try:
                os.close(fd)
            except OSError as error:
                refused += error.errno == errno.EBADF
        assert refused

    bodies = [lambda path=path: os.execv(path, ["zero", "one"]) for path in (script, closed, bad, orphan, "/no/such", str(tmp), 1, "a\0")]
    bodies += [lambda: os.execve(script, ["zero", "one"], env), lambda: os.execl("/bin/sh", "sh", "-c", "exit 6")]
    bodies += [lambda: os.execv(script, []), lambda: os.execv(script, [""]), lambda: os.execve(script, ["x"], 1), lambda: os.execv(script)]
    bodies += [lambda: os.execvpe("sh", ["sh", "-c", "echo $X"], env), lambda: os.execle(script, "zero", "one", env)]
    bodies += [lambda: os.execve(os.open("/bin/sh", os.O_RDONLY), ["sh", "-c", "echo by descriptor"], env)]
    bodies += [cleared(lambda: None), cleared(lambda: os.closerange(3, 1 << 20)), cleared(one_by_one)]
    # These go on as Python: the programs are their children's.
    more = [lambda: ran(["echo", "of a child"])[1], lambda: os.system("exit 2"), lambda: os.spawnlp(os.P_WAIT, "sh", "sh", "-c", "exit 7")]
    return [forked(body) for body in bodies] + [forked(body, counted=False) for body in more]


@case
def exec_that_is_refused_in_pytest_itself(tmp):
    return [tried(os.execv, "/no/such", ["x"]), tried(os.execv, "/bin/sh", []), tried(os.execvp, "no-such-program", ["x"]), tried(os.execve, "/", ["x"], {})]


@case
def asyncio_subprocesses(tmp):
    async def run():
        shell = await asyncio.create_subprocess_shell("cat; exit 3", stdin=PIPE, stdout=PIPE)
        PIDS.append(shell.pid)
        out, _ = await shell.communicate(b"through asyncio")
        program = await asyncio.create_subprocess_exec("sleep", "60")
        PIDS.append(program.pid)
        program.terminate()
        return [shell.returncode, out.decode(), await program.wait(), await missing()]

    async def missing():
        try:
            await asyncio.create_subprocess_exec("/no/such")
        except OSError as error:
            return [type(error).__name__, error.errno, error.filename]

    return asyncio.run(run())


@case
def multiprocessing_in_all_ways(tmp):
    seen = []
    for way in ("spawn", "forkserver", "fork"):
        context = multiprocessing.get_context(way)
        process = context.Process(target=os._exit, args=(5,))
        process.start()
        if way == "spawn":
            PIDS.append(process.pid)
        process.join(60)
        seen.append([way, process.exitcode])
        with context.Pool(2) as pool:
            seen.append(pool.map(os.system, ["exit 3", "exit 4"]))
    return seen


@case
def many_threads(tmp):
    seen = []

    def work(number):
        seen.append([number, ran(["sh", "-c", "echo %d; exit %d" % (number, number)]), os.system("exit %d" % number)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(seen)


@case
def looks_of_the_functions(tmp):
    names = ("posix_spawn", "posix_spawnp", "execv", "execve", "system")
    functions = [getattr(os, name) for name in names]

    class Holder:
        spawn = os.posix_spawn
        system = os.system

    pid = Holder().spawn("/bin/true", ["true"], {})
    return [
        [repr(function) for function in functions],
        [function.__name__ + function.__module__ + function.__doc__ for function in functions],
        [tried(lambda: str(inspect.signature(function))) for function in functions],
        [pickle.loads(pickle.dumps(function)) is function and copy.deepcopy(function) is function for function in functions],
        [ended(pid), Holder().system("exit 3"), os.execve in os.supports_fd],
    ]


def open_descriptors():
    # What an exception's frames still hold is not left open.
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def unnamed(value, names):
    """The value with other words for what differs between runs. Only as words of texts: what is no pid may be its number."""
    if isinstance(value, str):
        for name, word in names.items():
            value = re.sub(r"(?<!\d)%s(?!\d)" % re.escape(name), word, value)
    elif isinstance(value, (list, tuple)):
        value = [unnamed(part, names) for part in value]
    elif isinstance(value, dict):
        value = {unnamed(key, names): unnamed(part, names) for key, part in value.items()}
    return value


@pytest.mark.parametrize("name", CASES)
def test_starts(name, tmp_path, monkeypatch):
    before, env = open_descriptors(), dict(os.environ)
    PIDS.clear()
    value = CASES[name](tmp_path)
    for key in set(os.environ) - set(env):
        del os.environ[key]
    os.environ.update(env)
    # What is left open shows here; multiprocessing's helpers are started by whichever case comes first.
    value = [value, open_descriptors() - before if name != "multiprocessing_in_all_ways" else 0]
    text = json.dumps(unnamed(value, {str(tmp_path): "TMP", str(os.getpid()): "PID"}))
    SEEN[name] = [json.loads(text), list(PIDS), list(CASES).index(name)]
    with open("seen.json", "w") as file:
        json.dump(SEEN, file)
