"""What the parts of the harness have to say to the runner beside what pytest says. Standard library only, Python 3.9 and later.

There are these kinds: `tampering`, what only the submission could have wanted; `student-code` and `made`, what the suite itself does and
must not; `loaded`, that it did so and may; `displaced`, that a tool of the suite's obeyed the submission; `remark`, what is nobody's fault
and has to be known; `written` and `copied`, what pytest itself has put into the suite's folder, which no child may say. Nothing is lost of what comes before the
plugin has begun, nor of what a forked child has to say, which must not speak for the tests and so has a pipe to its parent.
"""

import json
import os

from ostest_fds import close, duplicate

# What a forked child may say.
KINDS = ("tampering", "student-code", "made", "loaded", "displaced", "remark")
# What a pipe takes in one piece.
PIECE = 4096


class Notes:
    def __init__(self):
        self.pid = os.getpid()
        self.send = None
        self.waiting = []
        self.seen = set()
        self.reader = self.writer = -1
        pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # Out of the way of numbers that a suite counts.
            self.reader, self.writer = duplicate(pipe[0], ()), duplicate(pipe[1], ())
        finally:
            close(*pipe)

    def note(self, kind, text):
        if (kind, text) in self.seen:
            return
        self.seen.add((kind, text))
        if os.getpid() != self.pid:
            piece = json.dumps([kind, text[:1000]]).encode() + b"\n"
            try:
                if len(piece) <= PIECE:
                    os.write(self.writer, piece)
            except OSError:
                pass
        elif self.send is None:
            self.waiting.append((kind, text))
        else:
            self.send(kind, text)

    def now(self, kind, text):
        """Says what is so at the moment, and may be so again."""
        if self.send is not None and os.getpid() == self.pid:
            self.send(kind, text)

    def report_to(self, send):
        self.send = send
        while self.waiting:
            send(*self.waiting.pop(0))

    def drain(self):
        """Says what forked children have said."""
        if os.getpid() != self.pid:
            return
        said = b""
        try:
            while True:
                piece = os.read(self.reader, 1 << 16)
                said += piece
                if not piece or len(said) > 1 << 20:
                    break
        except OSError:
            pass
        for line in said.split(b"\n"):
            try:
                kind, text = json.loads(line)
                if kind in KINDS:
                    self.note(kind, str(text))
            except (ValueError, TypeError):
                pass
