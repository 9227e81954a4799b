"""Starting kvd and talking to it."""

import re
import socket

import programs


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
        try:
            return Client(self, socket.create_connection(("127.0.0.1", self.port), timeout=programs.PATIENCE))
        except OSError as error:
            self.fail(f"expected a connection to port {self.port}, got: {error}")

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
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.connection.close()

    def send(self, data):
        try:
            self.connection.sendall(data)
        except OSError as error:
            self.server.fail(f"sending {programs.quote(data)}: {error}")

    def read_line(self, request):
        while b"\n" not in self.received:
            try:
                piece = self.connection.recv(4096)
            except OSError as error:
                piece, why = b"", str(error)
            else:
                why = "the connection was closed"
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
