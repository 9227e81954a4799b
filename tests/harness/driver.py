"""Plays the launcher for tests/harness.rs: starts a command with the harness's descriptors and writes down what came.

Usage: driver.py OUT HARNESS MODE COMMAND...; MODE is `socket`, `pipe`, `hangup` (nobody listens) or `absent` (no channel).
`{report}` in the command becomes the path of the report's memory file. With OSTEST_GATE in the environment leaves and
gates are served too (leaves.py).
"""

import json
import os
import socket
import subprocess
import sys
import threading

import leaves


def main():
    out, harness, mode, command = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    messages = []
    report = os.memfd_create("report")
    if mode == "pipe":
        ours, theirs = os.pipe()
    else:
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours, theirs = pair[0].detach(), pair[1].detach()
    env = dict(os.environ)
    for name in ("PYTHONPATH", "PYTEST_ADDOPTS"):
        if name in env:
            env["OSTEST_ORIG_" + name] = env[name]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [harness, env.get("PYTHONPATH", "")]))
    env["PYTEST_ADDOPTS"] = " ".join(filter(None, ["-p ostest_harness", env.get("PYTEST_ADDOPTS", "")]))
    if mode != "absent":
        env["OSTEST_EVENTS_FD"] = str(theirs)
    env["OSTEST_REPORT_FD"] = str(report)
    served, passed = None, (theirs, report)
    if "OSTEST_GATE" in env:
        served = leaves.Served(env.pop("OSTEST_TEST_REFUSE", ""))
        passed += served.passed(env)
    command = [word.replace("{report}", "/proc/self/fd/%d" % report) for word in command]

    def listen():
        while True:
            data = os.read(ours, 1 << 20)
            if not data:
                return
            messages.append(data)

    with open(os.path.join(out, "output"), "wb") as output:
        child = subprocess.Popen(
            command, env=env, pass_fds=passed, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
    os.close(theirs)
    if served:
        served.start()
    if mode == "hangup":
        os.close(ours)
    else:
        listener = threading.Thread(target=listen)
        listener.start()
    code = child.wait()
    if mode != "hangup":
        # A process that still holds the other end would keep us here: the test of that is that this ends.
        listener.join(20)
        if listener.is_alive():
            sys.exit("something kept the channel open after pytest's end")
    with open(os.path.join(out, "leaves"), "w") as file:
        json.dump(served.seen if served else None, file)
    if mode == "pipe":
        messages = b"".join(messages).splitlines(True)
    with open(os.path.join(out, "sizes"), "w") as file:
        json.dump([len(message) for message in messages], file)
    with open(os.path.join(out, "events"), "wb") as file:
        file.write(b"".join(messages))
    with open(os.path.join(out, "report"), "wb") as file:
        file.write(os.pread(report, os.fstat(report).st_size, 0))
    with open(os.path.join(out, "code"), "w") as file:
        file.write(str(code))


main()
