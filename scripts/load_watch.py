"""Starts the runner, looks at what it and the host hold until it has ended, and says whether anything was lost or left.

load_watch.py --backend URL --state DIR --tasks N --growth MIB --log FILE -- RUNNER FLAG...
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

# Where the start is, in parts of all tasks: not before everything that is made once has been made. The end is as long.
START, START_END, END = 0.02, 0.25, 0.75
# Fewer samples in either tell nothing.
ENOUGH = 5
# The kernel lets go of groups and mounts a little after the last process.
PATIENCE = 15
# Longest time without a result. A task takes a second or so; the runner pauses up to a minute after failures.
STALLED = 900
FIRST_ID, IDS = 0x70000000, 65536


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def counts(backend):
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(backend + "/counts", timeout=60) as answer:
            return json.load(answer)
    except OSError as error:
        sys.exit("load.sh: the mock backend does not say what it has counted: %s" % error)


def status(pid, field):
    found = re.search(r"^%s:\s+(\d+)" % field, read("/proc/%d/status" % pid), re.M)
    return int(found.group(1)) if found else 0


def hierarchies():
    lines = (line.split() for line in read("/proc/self/mounts").splitlines())
    return sorted({fields[1] for fields in lines if fields[2] in ("cgroup", "cgroup2")})


def groups():
    return {top for tree in hierarchies() for top, _, _ in os.walk(tree)}


def kept_groups():
    """Memory groups that the kernel has, removed ones that still hold pages included."""
    found = re.search(r"^memory\s+\d+\s+(\d+)", read("/proc/cgroups"), re.M)
    return int(found.group(1)) if found else 0


def mounts(pid):
    return {line.split(" - ")[0] for line in read("/proc/%s/mountinfo" % pid).splitlines()}


def links(pid):
    """What the process's descriptors lead to; nothing once it has ended."""
    found = []
    try:
        for number in os.listdir("/proc/%d/fd" % pid):
            try:
                found.append(os.readlink("/proc/%d/fd/%s" % (pid, number)))
            except OSError:
                continue
    except OSError:
        pass
    return found


def ranges(pid):
    """The ranges of host ids that this runner's slots hold."""
    found = (re.fullmatch(r"/run/ostest-sandbox/ids/(\d+)", link) for link in links(pid))
    return {int(match.group(1)) for match in found if match}


def processes(held):
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        uids = re.search(r"^Uid:\s+(.*)", read("/proc/%s/status" % pid), re.M)
        for uid in map(int, uids.group(1).split()) if uids else ():
            if uid >= FIRST_ID and (uid - FIRST_ID) // IDS in held:
                found.add(pid)
    return found


def files(state):
    """Everything below the state directory but its cache, which is a link; and the bytes of it."""
    found, size = set(), 0
    for top, directories, names in os.walk(state):
        for name in directories + names:
            path = os.path.join(top, name)
            try:
                size += os.lstat(path).st_size
            except OSError:
                continue
            found.add(path)
    return found, size


class Watch:
    """What the host held of this runner, and when."""

    def __init__(self, options):
        self.options = options
        self.samples = []
        self.held = set()
        plan = [options.runner[0], "exec", "--state-dir", options.state, "--print-plan", "--", "true"]
        plan = subprocess.run(plan, stdout=subprocess.PIPE, check=False)
        if plan.returncode != 0:
            sys.exit("load.sh: where the runner's control groups are cannot be told; see above")
        # The runner's groups bear its instance's name, wherever they are.
        self.instance = re.search(r"[0-9a-f]{12}$", json.loads(plan.stdout)["cgroup"]["dir"]).group(0)

    def ours(self, found):
        return {path for path in found if self.instance in path}

    def here(self, pid):
        """Mounts below the state directory that the process sees."""
        return {mount for mount in mounts(pid) if self.options.state in mount}

    def sample(self, pid, answered):
        memory = status(pid, "VmRSS")
        if memory == 0:
            # It has ended, and waits to be noticed: nothing of it is left to be seen.
            return
        self.held |= ranges(pid)
        found = links(pid)
        sockets = sum(link.startswith("socket:") for link in found)
        all_groups = groups()
        below, size = files(self.options.state)
        self.samples.append({
            "answered": answered,
            "paths": below,
            "memory": memory,
            "descriptors": len(found) - sockets,
            "sockets": sockets,
            "threads": status(pid, "Threads"),
            "groups": len(self.ours(all_groups)),
            "host groups": len(all_groups),
            "kept groups": kept_groups(),
            "mounts": len(mounts(pid)),
            "host mounts": len(mounts(1)),
            "processes": len(processes(self.held)),
            "files": len(below),
            "bytes": size,
        })

    def part(self, start, end):
        """The samples between two parts of all tasks."""
        tasks = self.options.tasks
        return [sample for sample in self.samples if start * tasks <= sample["answered"] <= end * tasks]

    def first(self):
        return self.part(START, START_END)

    def last(self):
        return self.part(END, 1)

    def left(self, mounts_before):
        """What is there after the runner's end and was not there, or was not to stay, before."""
        made = set().union(*(sample["paths"] for sample in self.first()))
        return {
            "control groups": self.ours(groups()),
            "mounts": self.here(1) - mounts_before,
            "processes": processes(self.held),
            # What every runner makes at its start stays. One that did not get that far has left nothing that could be told.
            "files": files(self.options.state)[0] - made if made else set(),
        }


# What is printed, and how it is called. Beside the runner's memory these are judged: those that are this runner's alone.
# Others on the host make groups and mounts, too.
ROWS = {
    "memory": "runner: VmRSS, KiB",
    "descriptors": "runner: descriptors that are no sockets",
    "sockets": "runner: sockets",
    "threads": "runner: threads",
    "mounts": "runner: mounts in its namespace",
    "groups": "control groups of the runner",
    "processes": "processes with ids of its slots",
    "files": "files in its state directory",
    "bytes": "bytes in them",
    "host groups": "control groups of the host",
    "kept groups": "memory groups the kernel keeps, dead ones too",
    "host mounts": "mounts of the host",
}
# How much more is no leak. Connections are kept for later, and threads that read and write the spool end when they had no work
# for ten seconds: both as many as results were on their way at once, which is more after an outage than at the start.
JUDGED = {"descriptors": 0, "sockets": 16, "threads": 16, "mounts": 0, "groups": 0, "processes": 0, "files": 0}


def report(watch, seconds, answered):
    line = "%-46s %10s %10s %10s %10s"
    print(line % ("", "START", "MEDIAN", "END", "MOST"))
    for name, title in ROWS.items():
        middle = lambda part: "%d" % statistics.median(sample[name] for sample in part) if part else "-"
        most = max((sample[name] for sample in watch.samples), default="-")
        print(line % (title, middle(watch.first()), middle(watch.samples), middle(watch.last()), most))
    print("START: medians of %d samples from %d to %d %% of the tasks; END: of %d of the last %d %%"
          % (len(watch.first()), START * 100, START_END * 100, len(watch.last()), 100 - END * 100))
    print("%d tasks in %d s: %.1f a minute" % (answered, seconds, answered / seconds * 60))


def judge(watch, told, code, left):
    """Sentences on what is wrong."""
    tasks, growth = watch.options.tasks, watch.options.growth
    wrong = []
    if code != 0:
        wrong.append("the runner ended with exit code %d" % code)
    if told["handedOut"] < tasks:
        wrong.append("%d of %d tasks were never asked for" % (tasks - told["handedOut"], tasks))
    if told["answered"] < told["handedOut"]:
        wrong.append("%d tasks were lost: handed out and not answered" % (told["handedOut"] - told["answered"]))
    for field, sentence in (
        ("answeredAgainDifferent", "%d tasks were answered again with different content"),
        ("neverHandedOut", "%d results are of tasks that were not handed out"),
        ("followedRedirects", "%d redirects were followed"),
    ):
        if told[field]:
            wrong.append(sentence % told[field])
    for what, found in left.items():
        if found:
            wrong.append("%d %s are left, among them %s" % (len(found), what, ", ".join(sorted(found)[:3])))
    first, last = watch.first(), watch.last()
    if min(len(first), len(last)) < ENOUGH:
        wrong.append("the run was too short to see whether anything grows: use more --tasks")
        return wrong
    middle = lambda part: statistics.median(sample["memory"] for sample in part)
    grown = (middle(last) - middle(first)) / 1024
    if grown > growth:
        wrong.append("the runner's memory has grown by %.1f MiB; %d are allowed" % (grown, growth))
    for name, spare in JUDGED.items():
        # Tasks that are on their way hold some of each. What leaks ends up above all that they ever held at the start. The
        # lowest tenth is left out, because a runner that is ending lets go of everything.
        values = sorted(sample[name] for sample in last)
        least, most = values[len(values) // 10], max(sample[name] for sample in first)
        if least > most + spare:
            wrong.append("%s: %d or more at the end, and never more than %d at the start" % (ROWS[name], least, most))
    return wrong


def end(runner):
    """In good order: the first signal lets tasks finish, the second does not."""
    for _ in range(2):
        if runner.poll() is None:
            runner.send_signal(signal.SIGTERM)
            try:
                runner.wait(60)
            except subprocess.TimeoutExpired:
                pass
    runner.wait()


def waits(state):
    """Whether the runner still has something that the backend has not confirmed."""
    return any(name.endswith(".json") for name in os.listdir(os.path.join(state, "spool")))


def run(options):
    watch = Watch(options)
    mounts_before = watch.here(1)
    told, begun, moved, shown = counts(options.backend), time.monotonic(), time.monotonic(), time.monotonic()
    runner = subprocess.Popen(options.runner)
    stalled = False
    # A run has some hundreds of samples, and one costs some hundredths of a second.
    interval = min(2.0, max(0.2, options.tasks / 500))
    try:
        while runner.poll() is None:
            now, before = time.monotonic(), told["answered"]
            told = counts(options.backend)
            watch.sample(runner.pid, told["answered"])
            if told["answered"] > before:
                moved = now
            if told["answered"] >= options.tasks and not waits(options.state):
                break
            if now - moved > STALLED:
                stalled = True
                break
            if now - shown > 60:
                shown = now
                print("%d of %d tasks" % (told["answered"], options.tasks), file=sys.stderr)
            try:
                runner.wait(interval)
            except subprocess.TimeoutExpired:
                pass
    finally:
        end(runner)
    seconds = time.monotonic() - begun
    told = counts(options.backend)
    until = time.monotonic() + PATIENCE
    left = watch.left(mounts_before)
    while any(left.values()) and time.monotonic() < until:
        time.sleep(1)
        left = watch.left(mounts_before)
    report(watch, seconds, told["answered"])
    print("the backend has counted: " + json.dumps(told))
    wrong = judge(watch, told, runner.returncode, left)
    if stalled:
        wrong.insert(0, "no task was answered for %d s, and the runner was ended" % STALLED)
    if wrong:
        log = read(options.log).splitlines()[-20:]
        print("the end of the runner's log:\n" + "\n".join(line[:500] for line in log), file=sys.stderr)
        # Last, because it is what is looked for, and what the selftest shows of a part that failed without a test.
        for sentence in wrong:
            print("load.sh: " + sentence, file=sys.stderr)
        return 1
    print("None was lost, and nothing was left.")
    return 0


def main():
    parser = argparse.ArgumentParser()
    for name, kind in (("backend", str), ("state", str), ("tasks", int), ("growth", int), ("log", str)):
        parser.add_argument("--" + name, type=kind, required=True)
    parser.add_argument("runner", nargs="+")
    # So that the runner is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(run(parser.parse_args()))


if __name__ == "__main__":
    main()
