"""Starting a student's program so that nothing it does can hurt the suite.

Whatever runs here may hang, print for ever, die, or leave children behind. One rule for each:

- every wait has an end (patience.py);
- at most OUTPUT_LIMIT bytes of a program's output are kept: one that prints for ever fails its own test, and does not
  fill the memory of pytest, which would end all tests;
- every program gets a session and process group of its own, and the whole group is killed when the test is done with it.

What goes wrong is reported with pytest.fail() while the *test* is running, never from a fixture: a fixture that
fails is an error of the suite to pytest, and then the whole run counts as broken instead of one test as failed.

All imports of a suite belong at the top of its files. An import in the middle of a test happens when student code has
already run, and looks in directories that are not beyond its reach.
"""

import os
import selectors
import shlex
import signal
import subprocess
import termios
import time

import pytest

import cores
import processes
from patience import PATIENCE, TURN, Patience

OUTPUT_LIMIT = 64 * 1024
SHOWN = 300  # bytes quoted within a sentence of a message
SHOWN_BELOW = 2000  # bytes of output shown below it: enough for a sanitizer to come to the point
SUITE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


class Program:
    """A running program, to be used as `with Program([...]) as program:`; at the end of the block it is killed."""

    def __init__(self, args, *, cwd, input=b"", times=1, address_space_kib=None, terminal=False):
        self.args = [str(arg) for arg in args]
        self.cwd = cwd
        self.output = {"stdout": bytearray(), "stderr": bytearray()}
        self.status = None  # as of subprocess: minus the signal's number if one killed it
        self.too_much = None
        self._input = input
        self._times = times  # the input is given that often: much of it costs the suite no memory
        self._given = 0
        self._input_ends = False
        self._address_space_kib = address_space_kib
        self._terminal = terminal
        self._fds = []
        self._selector = selectors.DefaultSelector()

    def __enter__(self):
        command = self.args
        if self._address_space_kib:
            # By a shell, and not by resource.prlimit() from here: the suite and the program have different user ids.
            limit = 'ulimit -v "$1" && shift && exec "$@"'
            command = ["sh", "-c", limit, "sh", str(self._address_space_kib), *command]
        try:
            if self._terminal:
                self._start_on_terminal(command)
            else:
                self._start_on_pipes(command)
        except OSError as error:
            pytest.fail(f"the program could not be started: {error}{self.story()}", pytrace=False)
        return self

    def _start_on_pipes(self, command):
        self.process = subprocess.Popen(
            command, cwd=self.cwd, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._watch(self.process.stdout.fileno(), "stdout")
        self._watch(self.process.stderr.fileno(), "stderr")
        os.set_blocking(self.process.stdin.fileno(), False)
        self._offer_input()

    def _start_on_terminal(self, command):
        """A pseudo-terminal that is the program's controlling terminal, as in a shell: ^C and ^D work.

        The program leads a session (start_new_session) that has no terminal yet; the first one that it opens becomes
        its own. So a shell opens it, by name, and then becomes the program.
        """
        master, slave = os.openpty()
        self._fds += [master, slave]
        quiet = termios.tcgetattr(slave)
        quiet[3] &= ~termios.ECHO  # what comes back is what the program wrote, without what was typed
        termios.tcsetattr(slave, termios.TCSANOW, quiet)
        opens = 'terminal=$1 && shift && exec "$@" <"$terminal" >"$terminal" 2>&1'
        self.process = subprocess.Popen(
            ["sh", "-c", opens, "sh", os.ttyname(slave), *command], cwd=self.cwd, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._watch(master, "stdout")
        self._watch(self.process.stderr.fileno(), "stderr")  # what the shell itself has to say
        self._master = master

    def _watch(self, fd, stream):
        os.set_blocking(fd, False)
        self._selector.register(fd, selectors.EVENT_READ, stream)

    def __exit__(self, *exc):
        self._selector.close()
        processes.kill_group(self.process.pid)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass
        for fd in self._fds:
            os.close(fd)

    # What a test does with it.

    def type(self, text):
        """Types on the program's terminal."""
        os.write(self._master, text)

    def send(self, data):
        """Adds to the standard input, which stays open until wait()."""
        self._input = self._input[self._given:] + data
        self._given = 0
        self._times = 1
        self._offer_input()

    def send_signal(self, number):
        os.kill(self.process.pid, number)

    def read_line(self, what, timeout=PATIENCE):
        """The next line of the standard output, without its end."""
        stdout = self.output["stdout"]
        self._until(lambda: b"\n" in stdout, timeout)
        if b"\n" not in stdout:
            self.fail(f"expected {what}, but in {timeout:.1f} s no line of it came")
        line, _, rest = bytes(stdout).partition(b"\n")
        stdout[:] = rest
        return line.decode(errors="backslashreplace").rstrip("\r")

    def wait(self, timeout=PATIENCE, what="the program to end"):
        """Waits for the end; what the program wrote is in .output then, the way in which it ended in .status."""
        self._input_ends = True
        if not self._terminal:
            self._offer_input()
        if not self._until(lambda: self.status is not None, timeout):
            self.fail(f"expected {what} within {timeout:.1f} s, but it was still running and had to be killed")
        # Through a terminal the last bytes arrive a moment after the end.
        while self._move_bytes(0.05 if self._terminal else 0):
            self._stop_if_too_much()
        return self

    # What moves the bytes.

    def _until(self, done, timeout):
        patience, moved = Patience(self.process.pid, timeout), False
        while not done():
            # A dead program's last words may still be on their way through a terminal: only the end of its output counts.
            if patience.is_over(moved) or (self.status is not None and not self._move_bytes(0) and not self._selector.get_map()):
                return False
            moved = self._move_bytes(TURN)
            self._stop_if_too_much()
            self._look_for_end()
        return True

    def _stop_if_too_much(self):
        if self.too_much:
            self.fail(f"the program wrote more than {OUTPUT_LIMIT // 1024} KiB to its {self.too_much}, where a few lines "
                      "were expected; it was stopped there")

    def _look_for_end(self):
        # WNOWAIT leaves the dead program its process id, which is the group's id too, until __exit__ has killed what
        # is left of the group: a number that has been given back might be somebody else's by then.
        ended = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            killed = ended.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
            self.status = -ended.si_status if killed else ended.si_status

    def _move_bytes(self, timeout):
        """Takes what the program wrote and gives it what it is to read; whether any byte was moved."""
        if not self._selector.get_map():
            time.sleep(timeout)
            return False
        taken = False
        for key, _ in self._selector.select(timeout):
            if key.data == "stdin":
                taken |= self._give(key.fd)
            else:
                taken |= self._take(key.fd, key.data)
        return taken

    def _take(self, fd, stream):
        try:
            piece = os.read(fd, 16384)
        except BlockingIOError:
            return False
        except OSError:  # a terminal that nobody has open any more
            piece = b""
        if not piece:
            self._selector.unregister(fd)
            return False
        room = OUTPUT_LIMIT - len(self.output[stream])
        self.output[stream] += piece[:room]
        if len(piece) > room:
            self.too_much = {"stdout": "standard output", "stderr": "standard error"}[stream]
        return True

    def _offer_input(self):
        """Has stdin watched while there is something to write to it, or its end to be told."""
        pipe = self.process.stdin
        if not pipe.closed and pipe.fileno() not in self._selector.get_map() and (self._input or self._input_ends):
            self._selector.register(pipe.fileno(), selectors.EVENT_WRITE, "stdin")

    def _give(self, fd):
        before = self._given
        try:
            self._given += os.write(fd, self._input[self._given:self._given + 65536])
        except BlockingIOError:
            return False
        except BrokenPipeError:  # it does not want the rest; what it says and how it ends will tell
            self._times, self._given, self._input_ends = 0, len(self._input), True
        if self._given == len(self._input):
            self._times -= 1
            if self._times > 0:
                self._given = 0
                return True
            self._input, self._given = b"", 0
            self._selector.unregister(fd)
            if self._input_ends:
                self.process.stdin.close()
            return True
        return self._given > before

    # What a test says about it.

    def fail(self, sentence):
        pytest.fail(sentence + self.story(told=sentence), pytrace=False)

    def story(self, told=""):
        """How the program was run and what became of it: the second half of every message."""
        lines = ["", f"  the program was run as: {shlex.join(map(short, self.args))}"]
        if self._address_space_kib:
            lines.append(f"  under the limit: ulimit -v {self._address_space_kib} (KiB of address space)")
        if self.status is not None:
            if describe_end(self.status) not in told:
                lines.append(f"  it ended: {describe_end(self.status)}")
            if self.status < 0:
                lines += cores.backtrace(self.cwd, self.args[0])
        for stream in ("stdout", "stderr"):
            if self.output[stream]:
                lines.append(f"  its {stream}:")
                lines += [f"    | {line}" for line in readable(self.output[stream])]
        return "\n".join(lines)

    def expect_end(self, status=0):
        if self.status != status:
            self.fail(f"expected the program to end with {describe_end(status)}, got {describe_end(self.status)}")
        return self

    def expect_output(self, expected, why=""):
        got = bytes(self.output["stdout"])
        if got != expected:
            self.fail(f"expected the output {quote(expected)}, got {quote(got)}{why}")
        return self


def run(args, *, cwd, timeout=PATIENCE, **how):
    """Runs a program to its end."""
    with Program(args, cwd=cwd, **how) as program:
        return program.wait(timeout)


def short(argument):
    """An argument without the directory that the project, or this suite, happens to lie in."""
    for directory in (os.path.realpath(os.environ["OSTEST_PROJECT"]), SUITE):
        argument = argument.replace(directory + os.sep, "")
    return argument


def quote(data):
    text = repr(bytes(data[:SHOWN]))[1:]
    return text if len(data) <= SHOWN else f"{text}... ({len(data)} bytes)"


def readable(data):
    """Lines of output for a message, without anything that a terminal or a web page could take for a command."""
    text = bytes(data[:SHOWN_BELOW]).decode(errors="backslashreplace")
    lines = ["".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in line) for line in text.split("\n")]
    if not lines[-1]:
        lines.pop()
    return lines if len(data) <= SHOWN_BELOW else [*lines, f"... ({len(data)} bytes)"]


def describe_end(status):
    if status >= 0:
        return f"exit status {status}"
    number = -status
    text = f"killed by signal {number} ({signal.strsignal(number)})"
    if number == signal.SIGKILL:
        text += "; the suite did not send it: most likely the program used up the memory limit"
    return text
