"""Judges what `check --attacks --json` said in the test machine: attacks.sh has the rest.

    attacks.py KERNEL RUN... <OUTPUT

Each run's JSON follows a line `=== RUN`. What must come of an attack depends on which layers were off. A run `+GROUP` has all layers on,
and a group of calls allowed.
"""

import json
import sys

WORDS = {"contained": "contained", "reached": "REACHED", "not-tried": "NOT TRIED", "passed": "-"}
TITLES = {"nothing": "all layers on", "first": "first off", "second": "second off", "everything": "all off"}
# What may come of it with these layers off.
EXPECTED = {
    "nothing": {"contained"},
    "first": {"contained", "passed"},
    "second": {"contained", "passed"},
    "everything": {"reached", "passed"},
}


def title(run):
    return f"with {run[1:]}" if run.startswith("+") else TITLES[run]


def expected(run):
    return EXPECTED["nothing" if run.startswith("+") else run]


def read(text):
    """{run: {attack: report}}, and the runs of groups that the kernel cannot allow, with the reason"""
    runs, cannot = {}, {}
    for part in text.split("=== ")[1:]:
        name, _, body = part.partition("\n")
        if name.startswith("+") and "this host cannot allow" in body:
            cannot[name.strip()] = body.strip()
            continue
        try:
            runs[name.strip()] = {report["attack"]: report for report in json.loads(body)["attacks"]}
        except ValueError:
            runs[name.strip()] = {}
            print(f"without an answer: {body[:1000]}")
    return runs, cannot


def why(report):
    return report.get("why") or "; ".join(report.get("what", []))


def main():
    kernel, *wanted = sys.argv[1:]
    runs, cannot = read(sys.stdin.read())
    for run, reason in cannot.items():
        print(f"SKIPPED: {title(run)}: {reason}")
    wanted = [run for run in wanted if run not in cannot]
    attacks = list(runs.get("nothing", {}))
    wrong = []
    width = max(map(len, attacks), default=0)
    print(f"{'attack on ' + kernel:{width}}  " + "  ".join(f"{title(run):13}" for run in wanted))
    for attack in attacks:
        cells = [WORDS[runs.get(run, {}).get(attack, {}).get("verdict", "not-tried")] for run in wanted]
        print(f"{attack:{width}}  " + "  ".join(f"{cell:13}" for cell in cells))
    for run in wanted:
        reports = runs.get(run, {})
        bad = [a for a in attacks if reports.get(a, {}).get("verdict") not in expected(run)]
        for attack in bad:
            wrong.append(f"{attack}, {title(run)}: {why(reports.get(attack, {}))[:500]}")
        passed = {a: why(r) for a, r in reports.items() if r["verdict"] == "passed"}
        done = len(reports) - len(passed) - len(bad)
        verb = "succeed" if run == "everything" else "are contained"
        words = f"{verb} {title(run) if run.startswith('+') else 'with ' + title(run)}".replace(" ", "_")
        failed = bad or not reports
        print(f"test attacks_{words} ... {'FAILED' if failed else f'ok: {done} of {len(attacks)}'}")
        if not reports:
            wrong.append(f"{title(run)}: no answer")
        slow = sorted(reports.values(), key=lambda report: -report["seconds"])
        slowest = ", ".join(f"{report['attack']} {report['seconds']:.0f} s" for report in slow[:6])
        print(f"    {sum(report['seconds'] for report in slow):.0f} s, most of all for {slowest}")
        reasons = {}
        for attack, reason in sorted(passed.items()):
            reasons.setdefault(reason, []).append(attack)
        for reason, names in reasons.items():
            print(f"    {', '.join(names)}: {reason}")
    failed = sum(any(f"{title(run)}:" in line for line in wrong) for run in wanted)
    for line in wrong:
        print(f"    {line}")
    print(f"\ntest result: {'FAILED' if wrong else 'ok'}. {len(wanted) - failed} passed; {failed} failed; 0 ignored")
    return 1 if wrong else 0


sys.exit(main())
