"""Where a program died, read from its core file, where there is one to read.

Whether a crash leaves a core file is decided by two settings that are not the suite's: `ulimit -c` (0: none) and the
kernel's core_pattern ("|program": it goes to that program of the host, and is out of reach from here). So a core file is a
help in a message and never a condition of a test.
"""

import glob
import os
import resource
import shutil
import subprocess


def unavailable():
    """Why there will be no core files to look at; empty if there will be."""
    if resource.getrlimit(resource.RLIMIT_CORE)[0] == 0:
        return "ulimit -c is 0"
    try:
        with open("/proc/sys/kernel/core_pattern", encoding="utf-8", errors="replace") as pattern:
            pattern = pattern.read().strip()
    except OSError as error:
        return f"core_pattern cannot be read: {error.strerror}"
    if not pattern:
        return "core_pattern is empty"
    if pattern.startswith("|"):
        return "core_pattern hands them to a program of the host"
    if "/" in pattern:
        return f"core_pattern puts them elsewhere: {pattern}"
    return ""


def backtrace(directory, program):
    """Lines for a message: the stack of the program that crashed in this directory; none if that cannot be found out."""
    if unavailable() or not shutil.which("gdb"):
        return []
    found = sorted(glob.glob(os.path.join(glob.escape(str(directory)), "core*")), key=os.path.getmtime)
    if not found:
        return []
    try:
        gdb = subprocess.run(
            ["gdb", "-nx", "-batch", "-ex", "bt 8", program, found[-1]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    frames = [line for line in gdb.stdout.decode(errors="replace").splitlines() if line.startswith("#")]
    frames = frames[1:] if frames[:1] == frames[1:2] else frames  # gdb shows the innermost when it opens a core, too
    return ["  it died here:"] + [f"    {frame[:200]}" for frame in frames[:8]] if frames else []
