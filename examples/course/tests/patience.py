"""How long a test waits for a program: by what the program could have done meanwhile, and not by the clock on the wall.

On a machine that is busy with other things a correct program takes ten times as long, and there is nothing that its author could
do about it. So the clock here runs

- not at all while something moves: a byte came, or was taken;
- with the processor time of the program, while it wants the processor and has to wait for its turn;
- with the wall, while it does nothing, but slower where this suite itself gets no turn.

A program that hangs is found as soon as ever on a machine that is idle, and a little later on one that is not.
"""

import os
import time

import processes

# How long one answer may take. OSTEST_PROXY_TIMEOUT is the operator's word for "long" on this machine (10 s unless
# told otherwise). A small program answers in milliseconds, so a sixth of it is plenty, and a program that hangs in
# every test still lets the suite end in reasonable time.
PATIENCE = max(0.5, float(os.environ.get("OSTEST_PROXY_TIMEOUT") or 10) / 6)
TURN = 0.005  # how long to wait before looking again
LOOK = 0.02  # how often it is looked at what the program does
IDLE = 0.05  # what one look costs at the most while the program does nothing: longer ones were the machine's doing
LONGEST = 10  # times the patience, by the clock on the wall: whatever happens, a test ends
CROWD = 64  # processes of one program with which it keeps itself busy, whatever else the machine does
TICK = os.sysconf("SC_CLK_TCK")


class Patience:
    """Begins with the waiting. Ask `is_over()` in each turn of a loop that waits."""

    def __init__(self, group, seconds=PATIENCE):
        self.group = group
        self.seconds = seconds
        self.left = seconds
        self.begun = self.looked = time.monotonic()
        self.used = self._look()[1]

    def is_over(self, moved=False):
        now = time.monotonic()
        if moved:
            self.looked = now
            return False
        passed = now - self.looked
        if passed >= LOOK:
            self.looked = now
            wants, used, crowd = self._look()
            worked, self.used = max(0.0, used - self.used), used
            self.left -= passed if crowd else min(worked, passed) if wants else min(passed, IDLE)
        return self.left <= 0 or now - self.begun > LONGEST * self.seconds

    def _look(self):
        """Whether any of the program's processes is running, is waiting for its turn, or for a disk; their processor time; and
        whether they are so many that they are in each other's way."""
        group = processes.in_group(self.group)
        wants = any(process.state in "RD" for process in group)
        return wants, sum(process.ticks for process in group) / TICK, len(group) > CROWD
