"""Sets what calls cost inside a sandbox against outside, in turns, and against a sandbox without the ledger. Of the runs the best."""
import subprocess
import sys

program, state, place, runs = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
SQLITE = """
import os, sqlite3, time
name = "/dev/shm/bench.db"
base = sqlite3.connect(name, isolation_level=None)
base.execute("create table t (a)")
best = None
for _ in range(100):
    begin = time.perf_counter()
    for number in range(30):
        base.execute("insert into t values (?)", (number,))
    took = (time.perf_counter() - begin) / 30 * 1e9
    best = took if best is None else min(best, took)
print("sqlite, one of 3000 inserts\\t%.1f" % best)
base.close()
os.unlink(name)
"""
COMMANDS = [[place + "/calls"], ["/usr/bin/python3", "-c", SQLITE]]
inside = [program, "exec", "--state-dir", state, "--cpu-limit", "64", "--ro", place + "/calls"]
# As on a kernel that was built without BTF: the ledger cannot be kept.
hidden = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh"]
WAYS = {
    "outside": [],
    "inside": [*inside, "--"],
    "no ledger": [*hidden, *inside, "--allow-degraded", "ledger", "--"],
}

figures = {}
for _ in range(runs):
    for way, prefix in WAYS.items():
        for command in COMMANDS:
            done = subprocess.run([*prefix, *command], capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{way}: {done.stderr or done.stdout}")
            for line in done.stdout.splitlines():
                name, took = line.split("\t")
                figures.setdefault(name, {}).setdefault(way, []).append(float(took))

print(f"{'':28}{'outside':>12}{'inside':>12}{'ratio':>8}{'no ledger':>12}{'ratio':>8}   ns each, the best of {runs} runs")
for name, ways in figures.items():
    outside, within, without = (min(ways[way]) for way in WAYS)
    print(f"{name:28}{outside:12.0f}{within:12.0f}{within / outside:8.2f}{without:12.0f}{within / without:8.2f}")
