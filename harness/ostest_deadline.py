"""Ends what a single test waits for, when it takes longer than its suite allows: the tests after it still have to run.

A program that never answers, or that leaves a pipe where pytest opens a file, would otherwise hold up the whole run until
that one's limit. The exception is raised wherever pytest is at that moment, so the report shows what it was waiting for.

A timer of POSIX, because ITIMER_REAL and SIGALRM are a suite's to use, and a thread would be seen by programs that fork. Its
signal is one that nobody uses; what a suite starts has the default action for it. Standard library only, Python 3.9 and later.
"""

import ctypes
import os
import signal

import pytest

SIGNAL = signal.SIGRTMAX - 3
CLOCK_MONOTONIC = 1
# The thread is named, and not the process: only a signal that the main thread gets interrupts what it waits in.
SIGEV_THREAD_ID = 4


class SigEvent(ctypes.Structure):
    """`struct sigevent` of Linux: 64 bytes on every architecture with pointers of 64 bits."""

    _fields_ = [
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("rest", ctypes.c_char * 44),
    ]


class TimerSpec(ctypes.Structure):
    """`struct itimerspec`: how often it goes off, and when for the first time, in seconds and nanoseconds."""

    _fields_ = [(name, ctypes.c_long) for name in ("again", "again_nanoseconds", "first", "first_nanoseconds")]


class Deadline:
    """The limit of each phase of a test, as a plugin of pytest: around all that the phase does, so that pytest reports what is
    raised meanwhile as that phase's failure.
    """

    def __init__(self, seconds):
        self.seconds = seconds
        self.pid = os.getpid()
        self.phase = None
        self.timer = ctypes.c_void_p()
        self.settime = function("timer_settime")
        event = SigEvent(signo=SIGNAL, notify=SIGEV_THREAD_ID, thread=os.getpid())
        check(function("timer_create")(CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self.timer)))
        signal.signal(SIGNAL, self.reached)

    def within(self, phase):
        self.set(self.seconds)
        self.phase = phase
        try:
            yield
        finally:
            self.phase = None
            self.set(0)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_setup(self):
        yield from self.within("the set-up")

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_call(self):
        yield from self.within("the call")

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self):
        yield from self.within("the tear-down")

    def set(self, seconds):
        # A child of a fork has no timers.
        if os.getpid() != self.pid:
            return
        whole, part = int(seconds), int(seconds % 1 * 1e9)
        # Once more each time that it has passed again: a test may have caught the exception and waits on.
        check(self.settime(self.timer, 0, ctypes.byref(TimerSpec(whole, part, whole, part)), None))

    def reached(self, number, frame):
        __tracebackhide__ = True
        # One that was on its way when the phase ended is nobody's.
        if self.phase is not None and os.getpid() == self.pid:
            pytest.fail("%s of this test took longer than the %g s that the suite allows (test-timeout)" % (self.phase, self.seconds))


def function(name):
    """A function of the C library; before glibc 2.34 these were in one beside it."""
    for library in (None, "librt.so.1"):
        try:
            return getattr(ctypes.CDLL(library, use_errno=True), name)
        except (OSError, AttributeError):
            pass
    raise OSError("the C library has no %s, which test-timeout needs" % name)


def check(result):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, "a timer for test-timeout: " + os.strerror(number))
