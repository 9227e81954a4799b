"""A git server over TLS on the loopback, for one test: `git http-backend` behind Python's HTTP server.

Arguments: the directory of the repositories, a certificate and its key. Prints its port. The path may begin with what goes wrong:

/moved/…           leads to the same without it
/to/HOST:PORT/…    leads to another server
/endless/…         does not end to tell its branches
/status/NUMBER/…   answers with this status
/throttled/…       answers with 403 and says that it has had too many requests
/page/…            answers everything with a page
/silent/…          answers everything with nothing
/hang/…            accepts, and says nothing until `.answers` is away
/stall/…           the same when it is asked for objects
/hangup/…          closes the connection without an answer
/cut/…             closes it in the middle of the objects
/drip/…            sends a byte of the objects now and then
/private/…         wants the name and the token of USER

While there is a file `.answers` in the directory, all paths begin with what it holds.
"""

import base64
import gzip
import http.server
import os
import ssl
import subprocess
import sys
import time

USER = b"grader:s3cret?t0ken"

root, certificate, key = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        path, _, query = self.path.partition("?")
        try:
            with open(os.path.join(root, ".answers")) as everything:
                path = f"/{everything.read().strip()}{path}"
        except FileNotFoundError:
            pass
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if path.startswith("/endless/"):
            self.advertise_without_end()
            return
        stage, _, rest = path[1:].partition("/")
        if stage == "hang" or (stage == "stall" and b"command=fetch" in body):
            while os.path.exists(os.path.join(root, ".answers")):
                time.sleep(0.2)
            self.close_connection = True
            return
        if stage in ("stall", "status", "throttled", "silent", "page", "hangup", "cut", "drip", "private"):
            path = "/" + rest
        if stage == "status":
            return self.say(int(rest.partition("/")[0]), "staged\n")
        if stage == "throttled":
            return self.say(403, "You have exceeded a secondary rate limit.\n")
        if stage == "silent":
            return self.say(200, "")
        if stage == "page":
            return self.say(200, "<!DOCTYPE html><title>Welcome</title>\n")
        if stage == "hangup":
            self.close_connection = True
            return
        if stage == "private" and self.headers.get("authorization") != "Basic " + base64.b64encode(USER).decode():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
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
        if stage in ("cut", "drip") and b"command=fetch" in body:
            self.close_connection = True
            self.wfile.write(rest[: len(rest) // 2])
            while stage == "drip":
                try:
                    # The head of a packet that holds nothing, and its end never.
                    self.wfile.write(b"0")
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(0.2)
            return
        self.wfile.write(rest)

    def say(self, status, text):
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if status == 200 else "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

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
