"""Plays the launcher's part in memory per test: makes leaves current and lets gates in, and writes down who came when.

Nothing is measured here, and no control group exists: what is shown is who asks, and which leaf is current then.
"""

import array
import json
import os
import socket
import struct
import threading


class Served:
    """Both sockets. `refuse` is the name of a leaf that is not made, `entry`: nobody is let in, or `close`: no leaf ends."""

    def __init__(self, refuse):
        self.refuse = refuse
        self.current = None
        self.seen = []
        self.lock = threading.Lock()
        self.control, self.their_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.gate, self.their_gate = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.gate.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def passed(self, env):
        """The harness's ends, which the environment names."""
        env["OSTEST_LEAVES_FD"] = str(self.their_control.fileno())
        env["OSTEST_GATE_FD"] = str(self.their_gate.fileno())
        return self.their_control.fileno(), self.their_gate.fileno()

    def start(self):
        """Serves from now on, until this process ends."""
        self.their_control.close()
        self.their_gate.close()
        for work in (self.serve_harness, self.serve_gates):
            threading.Thread(target=work, daemon=True).start()

    def serve_harness(self):
        while True:
            request = self.control.recv(1 << 16)
            if not request:
                return
            with self.lock:
                request = json.loads(request)
                answer = dict(self.answer(request), number=request["number"])
                self.control.send(json.dumps(answer).encode())

    def answer(self, request):
        if request["ask"] == "open":
            if self.current is not None:
                return {"ok": False, "error": "the leaf %s has not been ended" % self.current}
            if request["leaf"] == self.refuse:
                return {"ok": False, "error": "no room for %s" % self.refuse}
            self.current = request["leaf"]
            self.seen.append(["open", self.current])
        elif request["ask"] in ("enter", "leave", "end", "mark"):
            # What a fixture is for, the kernel's figures show (tests/figures.rs).
            pass
        elif self.refuse == "close":
            return {"ok": False, "error": "no figures to be had"}
        else:
            self.seen.append(["close", self.current])
            self.current = None
        return {"ok": True}

    def serve_gates(self):
        room = socket.CMSG_SPACE(12) + socket.CMSG_SPACE(16)
        while True:
            data, parts, _, _ = self.gate.recvmsg(16, room)
            if not parts:
                return
            pid, replies = None, array.array("i")
            for _, kind, body in parts:
                if kind == socket.SCM_CREDENTIALS:
                    pid = struct.unpack("3i", body[:12])[0]
                elif kind == socket.SCM_RIGHTS:
                    replies.frombytes(body[: len(body) // 4 * 4])
            with self.lock:
                self.seen.append(["enter", self.current, pid])
                if self.refuse != "entry":
                    os.write(replies[0], b"k" + bytes(7))
            for reply in replies:
                os.close(reply)
