"""Says to the launcher when a test's leaf begins and ends. Standard library only, Python 3.9 and later."""

import json
import os
import socket

from ostest_fds import close, take_socket


class Leaves:
    """A SOCK_SEQPACKET socket, the harness's alone: one JSON object each way."""

    def __init__(self, fd):
        self.pid = os.getpid()
        self.socket = take_socket(fd, "OSTEST_LEAVES_FD")
        self.broken = None

    def open(self, leaf):
        """Makes the leaf current. Gives a sentence if that failed: then the test must not run."""
        return self.ask({"ask": "open", "leaf": leaf})

    def close(self):
        """Ends the current leaf. That it could not be ended is told by the next `open`."""
        self.broken = self.ask({"ask": "close"}) or self.broken

    def ask(self, request):
        # A child that goes on as pytest is in its parent's test.
        if os.getpid() != self.pid:
            return None
        if self.broken is not None:
            return self.broken
        # An answer that was not waited for would be taken for the next one's.
        self.broken = "the test's memory cannot be counted: an answer of the launcher was not waited for"
        try:
            self.socket.sendall(json.dumps(request).encode(), socket.MSG_NOSIGNAL)
            data = self.socket.recv(1 << 16)
            answer = json.loads(data) if data else {"ok": False, "error": "the launcher has hung up"}
        except (OSError, ValueError) as error:
            answer = {"ok": False, "error": str(error)}
        self.broken = None
        if isinstance(answer, dict) and answer.get("ok") is True:
            return None
        why = answer.get("error") if isinstance(answer, dict) else None
        return "the test's memory cannot be counted: %s" % (why or "the launcher's answer is not understood")

    def close_in_child(self):
        close(self.socket.detach())
