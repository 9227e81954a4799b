"""What posix_spawn is asked for, and what it does in its child. Standard library only, Python 3.9 and later."""

import errno
import os
import resource
import signal

from ostest_fds import close


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


def as_entries(env):
    """posix_spawn's environment, which C has found to be one, as fork_exec's. None is this process's own in both."""
    return None if env is None else [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in env.items()]


def act(actions, named, errors, sock):
    """In the child: what posix_spawn does there before it executes the program, in the order of the C library.

    `errors` is -1 where nobody can be told.
    """
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
        if errors >= 0:
            os.set_inheritable(errors, True)
        os.set_inheritable(sock, True)
    except OSError as error:
        if errors >= 0:
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
        spared = sorted(number for number in spared if number >= fd)
        for low, high in zip((fd - 1, *spared), (*spared, resource.getrlimit(resource.RLIMIT_NOFILE)[0])):
            # To the kernel a negative end is the largest of all.
            if low + 1 < high:
                os.closerange(low + 1, high)
