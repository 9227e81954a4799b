"""Lets several threads set trace and profile functions at a time, on the Pythons where audit hooks would keep them from it.

Python 3.10 and 3.11 keep one mark for the whole process while `sys.settrace` or `sys.setprofile` is at work, and run the audit hooks
within it. A hook in Python may give way to another thread there, and a thread that sets its function then is refused with a
RuntimeError. Where `threading.settrace` was used this happens before the thread's own first line, and the thread ends without a word:
what it should have done is missing. Standard library only, Python 3.9 and later.
"""

import sys
import threading
import time

from ostest_stand import stand_in

REFUSED = "another {} function is being installed"


def install():
    """To be called where audit hooks are added."""
    if (3, 10) <= sys.version_info < (3, 12):
        stand_in([(sys.settrace, patient(sys.settrace, "trace")), (sys.setprofile, patient(sys.setprofile, "profile"))])


def patient(real, kind):
    """The function, which tries again while another thread is at work in it."""
    refused, inside = REFUSED.format(kind), set()

    def set_function(function):
        __tracebackhide__ = True
        me = threading.get_ident()
        if me in inside:
            # What is thrown away by the outer call has called: the mark is this thread's own, and waiting would not end.
            return real(function)
        inside.add(me)
        try:
            while True:
                try:
                    return real(function)
                except RuntimeError as error:
                    if refused not in str(error):
                        raise
                time.sleep(0)
        finally:
            inside.discard(me)

    return set_function
