"""Makes a file of `policies/seen/` out of a recorder's notes.

    seen.py FILE HEADER NOTES...

A line for each call: the call, a tab, the programs that made it, sorted. HEADER may have several lines. A FILE that is there is
replaced; one among NOTES stays in (`record_syscalls.sh --add`).
"""

import sys

path, header, *sources = sys.argv[1:]
programs = {}
for source in sources:
    with open(source, encoding="utf-8") as notes:
        for line in notes:
            if not line.startswith("#"):
                call, _, names = line.rstrip("\n").partition("\t")
                programs.setdefault(call, set()).update(names.split())
with open(path, "w", encoding="utf-8") as file:
    file.writelines(f"# {line}\n" for line in header.splitlines())
    file.writelines(f"{call}\t{' '.join(sorted(names))}\n" for call, names in sorted(programs.items()))
