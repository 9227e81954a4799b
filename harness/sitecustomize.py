"""What every interpreter of the test stage runs before anything of the suite: only the first one finds something to do.

Python would go on after an exception here, with the harness in reach of whatever it starts, so one ends the run.
"""

import os

if "OSTEST_EVENTS_FD" in os.environ:
    try:
        import ostest_start

        ostest_start.begin()
    except BaseException as error:
        text = "the harness could not be set apart from the programs that it starts: %s: %s\n" % (type(error).__name__, error)
        os.write(2, text.encode("utf-8", "replace"))
        os._exit(70)
