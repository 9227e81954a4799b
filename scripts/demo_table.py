"""Prints the demo's table: each task's verdict beside the one that its submission was made for."""

import json
import sys

results, tasks, expected = sys.argv[1:]
with open(results, encoding="utf-8") as file:
    answers = [json.loads(line) for line in file if line.startswith("{")]
with open(tasks, encoding="utf-8") as file:
    tasks = json.load(file)
with open(expected, encoding="utf-8") as file:
    expected = json.load(file)


def key(value):
    return ("attempt", value["attempt"]) if "attempt" in value else ("id", value["id"])


def word(verdict):
    return "passed" if verdict["isPassed"] else "ERROR" if verdict["isError"] else "FAILED"


rows = [("TASK", "VERDICT", "MADE FOR", "TESTS", "PEAK", "WHAT IS SAID FIRST")]
wrong = 0
by_key = {key(answer): answer for answer in answers}
for task in tasks:
    name, wanted = next((name, w) for name, w in expected.items() if key(w) == key(task))
    answer = by_key.get(key(task))
    if answer is None:
        rows.append((name, "NO ANSWER", word(wanted), "", "", ""))
        wrong += 1
        continue
    body = answer["testResults"] if "attempt" in answer else answer
    cases = body.get("testCases", body["testResults"] if "attempt" not in answer else [])
    failed = {case["name"] for case in cases if not case["isPassed"]}
    right = word(body) == word(wanted) and failed == {*wanted.get("failed", []), *wanted.get("skipped", [])}
    wrong += not right
    said = body["errorDetails"] or next((c["description"] for c in cases if not c["isPassed"]), "")
    peak = max((case["memoryUsed"] for case in cases), default=0)
    rows.append((
        name,
        word(body),
        word(wanted) if right else word(wanted) + " (not as expected)",
        "%d/%d" % (len(cases) - len(failed), len(cases)) if cases else "-",
        "%.1f MiB" % (peak / 1024) if peak else "-",
        (said.splitlines() or [""])[0][:90],
    ))
widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
for row in rows:
    print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
print()
print("All as expected." if not wrong else "%d of %d not as expected." % (wrong, len(tasks)))
sys.exit(1 if wrong else 0)
