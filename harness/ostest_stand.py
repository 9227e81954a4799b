"""Functions of the harness that stand where built-in functions of Python were. Standard library only, Python 3.9 and later."""

import os
import sys


class Stand:
    """Looks like the built-in function for which it stands in.

    No function of Python's own: those become methods where a class holds them, and built-in functions do not.
    """

    def __init__(self, original, function):
        self.__wrapped__ = original
        self._function = function
        for name in ("__name__", "__qualname__", "__module__", "__doc__", "__text_signature__"):
            setattr(self, name, getattr(original, name, None))

    def __call__(self, *given, **named):
        __tracebackhide__ = True
        return self._function(*given, **named)

    def __repr__(self):
        return repr(self.__wrapped__)

    def __reduce__(self):
        # Found by its name: in a process of its own this is the built-in function.
        return self.__qualname__


def stand_in(functions):
    """Puts functions where others are, in every module that has been loaded: pairs of the old one and the new."""
    stands = {id(original): Stand(original, function) for original, function in functions}
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", None) or {}
        for name, value in list(names.items()):
            if id(value) in stands:
                setattr(module, name, stands[id(value)])
    for group in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks, os.supports_effective_ids):
        group |= {stands[id(function)] for function in list(group) if id(function) in stands}
