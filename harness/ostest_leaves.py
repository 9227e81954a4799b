"""Says to the launcher when a leaf begins and ends. Standard library only, Python 3.9 and later."""

import array
import json
import os
import socket

from ostest_fds import close, take_socket

# The leaf of what is everybody's and no test's (sandbox/src/leaves).
SESSION = "f0"
# The leaf of what Python runs for itself: in the figure of no test. No fixture's has such a name.
NOBODYS = "fn"


class Leaves:
    """A SOCK_SEQPACKET socket, the harness's alone: one JSON object each way, and a number by which an answer is known."""

    def __init__(self, fd):
        self.pid = os.getpid()
        self.socket = take_socket(fd, "OSTEST_LEAVES_FD")
        self.broken = None
        self.number = 0
        self.test = None
        self.inside = []

    def target(self):
        """The leaf for what is started now. The launcher hears of it when the program comes to the gate, which may be later."""
        inside = self.inside
        return inside[-1] if inside else self.test or SESSION

    def open(self, leaf):
        """Makes the leaf current. Gives a sentence if that failed: then the test must not run."""
        self.test, self.inside = leaf, []
        return self.ask({"ask": "open", "leaf": leaf})

    def close(self):
        """Ends the current leaf, and what is left in it. That it could not be ended is told by the next `open`."""
        self.test, self.inside = None, []
        self.broken = self.ask({"ask": "close"}) or self.broken

    def enter(self, leaf):
        """Puts whoever comes from now on into this leaf, which outlives tests; until `leave`."""
        self.inside.append(leaf)
        return self.ask({"ask": "enter", "leaf": leaf})

    def leave(self, leaf, settled=False):
        """As before `enter`. `settled`: what was set up has been, and who is left in the leaf and descends from nobody here is ended."""
        self.forget(leaf)
        self.broken = self.ask({"ask": "leave", "leaf": leaf, "settled": settled}) or self.broken

    def end(self, leaf):
        """What has this leaf has ended."""
        self.forget(leaf)
        self.broken = self.ask({"ask": "end", "leaf": leaf}) or self.broken

    def mark(self, uses, files=None):
        """Says which leaves the test uses beside its own, and which files take the output of what it starts."""
        request = {"ask": "mark", "uses": sorted(uses)}
        return self.ask(request) if files is None else self.ask(dict(request, captured=True), files)

    def forget(self, leaf):
        """It is not current any more, nor what was entered later: whoever did was interrupted."""
        if leaf in self.inside:
            del self.inside[self.inside.index(leaf) :]

    def ask(self, request, files=()):
        # A child that goes on as pytest is in its parent's test.
        if os.getpid() != self.pid:
            return None
        if self.broken is not None:
            return self.broken
        self.number += 1
        number = self.number
        try:
            data = json.dumps(dict(request, number=number)).encode()
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
            self.socket.sendmsg([data], rights, socket.MSG_NOSIGNAL)
            answer = self.answer(number)
        except (OSError, ValueError) as error:
            answer = {"ok": False, "error": str(error)}
        if isinstance(answer, dict) and answer.get("ok") is True:
            return None
        why = answer.get("error") if isinstance(answer, dict) else None
        return "the test's memory cannot be counted: %s" % (why or "the launcher's answer is not understood")

    def answer(self, number):
        """The answer to this request. One that an interrupted call did not wait for is passed over."""
        while True:
            data = self.socket.recv(1 << 16)
            if not data:
                return {"ok": False, "error": "the launcher has hung up"}
            answer = json.loads(data)
            if not isinstance(answer, dict) or answer.get("number", number) >= number:
                return answer

    def close_in_child(self):
        close(self.socket.detach())
