"""What is told of a test that did not pass: why pytest says so, and what its programs wrote.

A suite asserts on one thing, and the reason often stands in another: a sanitizer's report, valgrind's or gdb's words, the
program's own complaint. pytest captures all of that and prints it below a failure; here it is put together in the same way, each
part within bounds and with its two ends kept. Standard library only, Python 3.9 and later.
"""

import re

# Characters of one part at the most, and of all together; a message to the runner has an end (ostest_harness.py).
REPR = 24000
SECTION = 6000
SECTIONS = 18000
EXCERPT = 4000
# Characters of a captured text that are looked through: who writes without end is not read to the end.
SEARCHED = 400000
EXCERPT_LINES = 40
# All that is told in one run. What is left is shared out, so that the last test still has some.
TOGETHER = 48 << 20
LEAST = 1000

# What stands before a line that is quoted: pytest's `E`, or what a suite puts there.
QUOTED = re.compile(r"^(?:E\s{1,9}|\s*\|\s?|\s+)")
SANITIZER = re.compile(r"^(?:==\d+==\s*)?(?:ERROR|WARNING): (?:Address|Leak|Thread|Memory|HWAddress)Sanitizer\b")
UNDEFINED = re.compile(r"^\S.{0,300}: runtime error: ")
SUMMARY = re.compile(r"^SUMMARY: \w+Sanitizer: ")
VALGRIND = re.compile(r"^==\d+== ?(.*)$")
VALGRIND_ERROR = re.compile(
    r"^(?:Thread \d+:?$|Invalid |Conditional jump|Use of uninitialised|Syscall param|Mismatched |Process terminating|"
    r"Source and destination overlap|Argument '|Jump to the invalid|Possible data race|Possibly lost|Thread #\d+|"
    r"[\d,]+ (?:\([\d,]+ direct, [\d,]+ indirect\) )?bytes in [\d,]+ blocks are (?:definitely|indirectly|possibly) lost)"
)
VALGRIND_SUM = re.compile(r"^(?:ERROR SUMMARY: (?!0 errors)|\s+definitely lost: (?!0 bytes))")
GDB = re.compile(r'^(?:Program (?:received signal|terminated with signal)|Thread \d.{0,80} received signal|#0 +(?:0x[0-9a-f]+ in )?\S)')


# The headings of what is put together here: a line of a program's that looks like one is quoted, whatever it has for dashes.
DASH = r"[-\u00af\u02c9\u02d7\u058a\u05be\u1400\u1806\u2010-\u2015\u2043\u207b\u208b\u2212\u2500\u2501\u2504-\u250b\u254c-\u254f\u2574\u2576\u2578\u257a\u2796\u2e3a\u2e3b\u30a0\u30fb\u30fc\u4e00\ufe58\ufe63\uff0d\uff70]"
HEADING = re.compile(r"^(?=\W*%s{2}.*\w.*%s{2}\W*$)" % (DASH, DASH), re.MULTILINE)

NOT_SHOWN = re.compile("[^\u0009\u000a\u000d\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def shown(value):
    """The text with escapes for what is obeyed and not shown, and for bytes that are no UTF-8; line ends unified."""

    def visible(match):
        code = ord(match.group())
        if 0xDC80 <= code <= 0xDCFF:
            # As Python has it with `surrogateescape`.
            code -= 0xDC00
        return ("\\x%02x" if code <= 0xFF else "\\u%04x" if code <= 0xFFFF else "\\U%08x") % code

    return NOT_SHOWN.sub(visible, str(value).replace("\r\n", "\n").replace("\r", "\n"))


def unheaded(text):
    """The text with its lines quoted that look like headings of ours."""
    return HEADING.sub("> ", text)


def cut(text, most):
    """At most so many characters: both ends, and between them how much is not there."""
    if len(text) <= most:
        return text
    kept = max(0, most - 60)
    head = (kept + 1) // 2
    left_out = len(text) - kept
    return text[:head] + "\n[... %d characters left out ...]\n" % left_out + text[len(text) - (kept - head) :]


class Budget:
    """Characters that a run may have in all: none alone takes more than a part of what is left."""

    def __init__(self, whole, least, part=32):
        self.left = whole
        self.least = least
        self.part = part

    def take(self, text, most):
        text = cut(text, max(self.least, min(most, self.left // self.part)))
        self.left = max(0, self.left - len(text))
        return text


def wanted(sections, show):
    """The sections that pytest would print under a failure (`--show-capture`), without those that are empty."""
    if show == "no":
        return []
    return [(name, text) for name, text in sections if text.strip() and (show == "all" or show in name)]


def excerpt(text):
    """What a sanitizer, valgrind or gdb says in a text: a name for it and its lines, or None."""
    lines = text.splitlines()
    for start, line in enumerate(lines):
        bare = QUOTED.sub("", line, count=1)
        if SANITIZER.match(bare):
            kind, found = bare.split(": ")[1].split(":")[0].split()[0], sanitizer(lines[start:])
        elif UNDEFINED.match(bare):
            kind, found = "UndefinedBehaviorSanitizer", undefined(lines[start:])
        elif valgrind_error(bare):
            kind, found = "valgrind", valgrind(lines[start:])
        elif GDB.match(bare):
            kind, found = "gdb", gdb(lines[start:])
        else:
            continue
        return kind, start, cut("\n".join(found), EXCERPT)
    return None


def bared(lines):
    """The lines without what stands before the first of them because it is quoted."""
    quoted = QUOTED.match(lines[0])
    before = quoted.group() if quoted else ""
    return (line[len(before) :] if line.startswith(before) else line for line in lines)


def sanitizer(lines):
    found = []
    for line in bared(lines):
        if SUMMARY.match(line):
            return found[: EXCERPT_LINES - 1] + [line]
        found.append(line)
        if len(found) > 400:
            break
    return found[:EXCERPT_LINES]


def undefined(lines):
    """Lines of their own, among whatever else the program writes."""
    found = [line for line in bared(lines[:2000]) if UNDEFINED.match(line) or SUMMARY.match(line)]
    return found[:EXCERPT_LINES]


def valgrind_error(line):
    match = VALGRIND.match(line)
    return bool(match and VALGRIND_ERROR.match(match[1].strip()))


def valgrind(lines):
    """The first error, to the empty line behind it, and the sum at the end."""
    found, sums, whole = [], [], False
    for line in bared(lines):
        match = VALGRIND.match(line)
        if not match:
            continue
        if VALGRIND_SUM.match(match[1]):
            sums.append(line)
        elif not match[1].strip():
            whole = True
        elif not whole and len(found) < EXCERPT_LINES - 4:
            found.append(line)
    return found + sums[:4]


def gdb(lines):
    """The signal, and the stack as far as it follows."""
    found, stack = [], False
    for line in bared(lines):
        frame = re.match(r"^#\d+ ", line) is not None
        if (stack and not frame and not line.startswith(" ")) or len(found) >= 24:
            break
        stack = stack or frame
        if line.strip() and not line.startswith(("[New ", "[Switching", "warning: ")):
            found.append(line)
    return found


class Told:
    """Puts together what is told, within what a run may say."""

    def __init__(self):
        self.budget = Budget(TOGETHER, LEAST)

    def whole(self, texts, sections, show="all"):
        """The text on a test: an excerpt first where there is one, what pytest says, what was captured."""
        said = unheaded("\n\n".join(texts))
        captured = [(name, unheaded(shown(cut(text, SEARCHED)))) for name, text in wanted(sections, show)]
        parts = []
        found = self.excerpt(said, captured)
        if found:
            parts.append(found)
        parts.append(cut(said, REPR))
        left = SECTIONS
        # The last are the nearest to what went wrong; pytest has them in the order in which they came.
        shown_parts = []
        for name, text in reversed(captured):
            text = cut(text.rstrip("\n"), min(SECTION, left)) if left > 200 else "[... left out ...]"
            left -= len(text)
            shown_parts.append("--- %s ---\n%s" % (name, text))
        parts += reversed(shown_parts)
        return self.budget.take("\n\n".join(part for part in parts if part), REPR + SECTIONS + EXCERPT)

    def excerpt(self, said, captured):
        for name, text in captured:
            found = excerpt(text)
            if found:
                return "--- %s, in %s ---\n%s" % (found[0], name, found[2])
        found = excerpt(said)
        # Near the beginning it is seen as it is.
        if found and found[1] > 12:
            return "--- %s, in what the test says ---\n%s" % (found[0], found[2])
        return ""
