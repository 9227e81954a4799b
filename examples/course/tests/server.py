"""Starting kvd and talking to it."""

import errno
import os
import re
import select
import socket

import programs
from patience import TURN, Patience


class Server(programs.Program):
    """`bin/kvd 0 WORKERS`, from its first line on: `with Server(...) as server:`."""

    def __init__(self, program, cwd, workers=3, port=0, **how):
        super().__init__([program, port, workers], cwd=cwd, **how)

    def __enter__(self):
        super().__enter__()
        try:
            line = self.read_line("the line `listening on PORT`")
            found = re.fullmatch(r"listening on (\d{1,5})", line)
            if not found:
                self.fail(f"expected the line `listening on PORT`, got {line!r}")
            self.port = int(found[1])
        except BaseException:
            self.__exit__()  # a `with` whose start failed does not call it
            raise
        return self

    def connect(self):
        client = Client(self, socket.socket())
        error = client.connection.connect_ex(("127.0.0.1", self.port))
        if error == errno.EINPROGRESS:
            error = errno.ETIMEDOUT
            if client.wait(select.POLLOUT):
                error = client.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            client.connection.close()
            self.fail(f"expected a connection to port {self.port}, got: {os.strerror(error)}")
        return client

    def ask(self, request, expected):
        """One request on a connection of its own."""
        with self.connect() as client:
            client.ask(request, expected)

    def stop(self, number, name):
        self.send_signal(number)
        self.wait(what=f"kvd to end after {name}").expect_end(0)


class Client:
    def __init__(self, server, connection):
        self.server = server
        self.connection = connection
        connection.setblocking(False)
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.connection.close()

    def wait(self, event):
        """Waits until the connection is ready for it; whether it is."""
        poll = select.poll()
        poll.register(self.connection, event)
        patience = Patience(self.server.process.pid)
        while not poll.poll(TURN * 1000):
            if patience.is_over():
                return False
        return True

    def offer(self, data):
        """Sends it as far as the server takes it; why it did not take all, if it did not."""
        while data:
            if not self.wait(select.POLLOUT):
                return "the server reads no more"
            try:
                data = data[self.connection.send(data):]
            except BlockingIOError:
                continue
            except OSError as error:
                return str(error)
        return ""

    def send(self, data):
        why = self.offer(data)
        if why:
            self.server.fail(f"sending {programs.quote(data)}: {why}")

    def read_line(self, request):
        while b"\n" not in self.received:
            piece, why = b"", "nothing came any more"
            try:
                if self.wait(select.POLLIN):
                    piece, why = self.connection.recv(4096), "the connection was closed"
            except BlockingIOError:
                continue
            except OSError as error:
                why = str(error)
            if not piece or len(self.received) > programs.OUTPUT_LIMIT:
                self.server.fail(f"expected a line in answer to {request!r}, got {programs.quote(self.received)} and "
                                 f"then: {why if not piece else 'more than anybody asked for'}")
            self.received += piece
        line, _, self.received = self.received.partition(b"\n")
        return line.decode(errors="backslashreplace")

    def request(self, request):
        self.send(request.encode() + b"\n")
        return self.read_line(request)

    def ask(self, request, expected):
        got = self.request(request)
        if got != expected:
            self.server.fail(f"the request {request!r}: expected the answer {expected!r}, got {got!r}")

    def worker(self):
        """The process id of the worker at the other end."""
        answer = self.request("PID")
        if not re.fullmatch(r"PID \d+", answer):
            self.server.fail(f"the request 'PID': expected 'PID' and the worker's process id, got {answer!r}")
        return int(answer.split()[1])
