"""A package index over TLS on the loopback, for one test.

Arguments: a directory, a certificate and its key. `/simple/NAME/` lists the wheels of NAME in the directory, `/files/WHEEL` is one
of them, `/to/SCHEME/HOST:PORT/…` leads there, and `/status/NUMBER/…` is answered with that status. While the directory has a file
`.down` it hangs up on everybody. Prints its port.
"""

import http.server
import os
import ssl
import sys

root, certificate, key = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if os.path.exists(os.path.join(root, ".down")):
            self.close_connection = True
            return
        parts = self.path.strip("/").split("/")
        if parts[0] == "to":
            self.answer(302, b"", Location=f"{parts[1]}://{parts[2]}/")
        elif parts[0] == "status":
            self.answer(int(parts[1]), b"")
        elif parts[0] == "simple":
            names = [name for name in sorted(os.listdir(root)) if name.startswith(parts[1].replace("-", "_") + "-")]
            links = "".join(f'<a href="/files/{name}">{name}</a>\n' for name in names)
            self.answer(200, f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), Content_Type="text/html")
        elif parts[0] == "files" and parts[1] in os.listdir(root):
            with open(os.path.join(root, parts[1]), "rb") as wheel:
                self.answer(200, wheel.read(), Content_Type="application/octet-stream")
        else:
            self.answer(404, b"")

    def answer(self, status, body, **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
