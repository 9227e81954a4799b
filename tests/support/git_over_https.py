"""A git server over TLS on the loopback, for one test: `git http-backend` behind Python's HTTP server.

Arguments: the directory of the repositories, a certificate and its key. `/moved/…` leads to the same without it, `/to/HOST:PORT/…` to
another server, and `/endless/…` does not end. Prints its port.
"""

import gzip
import http.server
import os
import ssl
import subprocess
import sys

root, certificate, key = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if path.startswith("/endless/"):
            self.advertise_without_end()
            return
        if path.startswith(("/moved", "/to/")):
            there = path.replace("/moved", "/") if path.startswith("/moved") else path.replace("/to/", "https://")
            self.send_response(302)
            self.send_header("Location", there + "?" + query)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        env = dict(
            os.environ,
            GIT_PROJECT_ROOT=root,
            GIT_HTTP_EXPORT_ALL="1",
            PATH_INFO=path,
            QUERY_STRING=query,
            REQUEST_METHOD=self.command,
            CONTENT_TYPE=self.headers.get("content-type", ""),
            GIT_PROTOCOL=self.headers.get("git-protocol", ""),
        )
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        fields = [line.decode().partition(": ")[::2] for line in head.split(b"\r\n")]
        self.send_response(next((int(value.split()[0]) for name, value in fields if name == "Status"), 200))
        for name, value in fields:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest)

    def advertise_without_end(self):
        """A repository with more branches than anybody can hear of."""
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(b"001e# service=git-upload-pack\n0000")
        number = 0
        while True:
            lines = (f"{number + n:040x} refs/heads/{number + n:060}\n" for n in range(1000))
            try:
                self.wfile.write("".join(f"{len(line) + 4:04x}{line}" for line in lines).encode())
            except OSError:
                return
            number += 1000

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
