"""Looking at processes through /proc, and getting rid of them."""

import collections
import os
import signal
import time

Process = collections.namedtuple("Process", "pid state parent group ticks")


def all_processes():
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as stat:
                # The second field is the program's name in parentheses, and may contain anything, parentheses
                # too: what counts begins after the last one.
                fields = stat.read().rpartition(")")[2].split()
                state, parent, group = fields[:3]
                # Its own processor time, and that of its children that are gone.
                ticks = sum(int(field) for field in fields[11:15])
        except (OSError, ValueError):  # it ended between listdir and open
            continue
        found.append(Process(int(name), state, int(parent), int(group), ticks))
    return found


def children_of(pid):
    return [process for process in all_processes() if process.parent == pid]


def in_group(group):
    return [process for process in all_processes() if process.group == group]


def alive_in_group(group):
    return [process for process in in_group(group) if process.state not in "ZX"]


def kill_group(group, tries=250, pause=0.02):
    """Kills a process group until nothing of it is alive; gives up after `tries`.

    The kernel signals a group as a whole, so even processes that fork all the time cannot outrun one killpg. What has
    left the group by setsid() is not found here; inside the sandbox it ends with the task at the latest.
    """
    for _ in range(tries):
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        if not alive_in_group(group):
            break
        time.sleep(pause)
    # The dead count against the limit on processes until somebody has waited for them: for orphans that is process 1.
    # A handful does not matter; after a fork bomb the next test could not start a thing.
    for _ in range(50):
        if len(in_group(group)) < 20:
            break
        time.sleep(pause)
