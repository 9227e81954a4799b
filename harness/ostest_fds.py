"""Descriptors of the harness that a suite's programs must not find, or must not lose. Standard library only, Python 3.9 and later."""

import errno
import fcntl
import os
import socket

# Our descriptors in a child are out of the way of the low numbers that a suite's code closes, overwrites or counts, and
# below 64, where the kernel has to make a larger table for a process.
HIGH = 50


class Unfit(Exception):
    """Programs cannot be started through the gate here. The text is for whoever looks after the host."""


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
