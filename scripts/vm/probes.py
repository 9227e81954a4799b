"""Holds two empty programs on each tracepoint that the ledger of pages uses, for as long as the machine lives.

The kernel patches its own code when a tracepoint gets its first and its second program, and when it loses them; with the third it
changes a list. An emulated processor does not always survive the patching (see run.sh), and every sandbox would do it anew.
Where the kernel has no BPF there is nothing to hold, and this ends. Standard library only.
"""

import ctypes
import os
import signal

BPF, PROG_LOAD, RAW_TRACEPOINT_OPEN, RAW_TRACEPOINT = 321, 5, 17, 17
# r0 = 0; exit
CODE = bytes([0xB7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])


class Load(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_uint32), ("count", ctypes.c_uint32), ("code", ctypes.c_uint64), ("license", ctypes.c_uint64)]
    _fields_ += [("rest", ctypes.c_uint64 * 12)]


class Open(ctypes.Structure):
    _fields_ = [("name", ctypes.c_uint64), ("program", ctypes.c_uint32), ("rest", ctypes.c_uint32)]


def bpf(command, arguments):
    result = ctypes.CDLL(None, use_errno=True).syscall(BPF, command, ctypes.byref(arguments), ctypes.sizeof(arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def hold(tracepoint):
    code, license, name = (ctypes.create_string_buffer(text) for text in (CODE, b"GPL", tracepoint))
    program = bpf(PROG_LOAD, Load(RAW_TRACEPOINT, len(CODE) // 8, ctypes.addressof(code), ctypes.addressof(license)))
    bpf(RAW_TRACEPOINT_OPEN, Open(ctypes.addressof(name), program))


for _ in range(2):
    for tracepoint in (b"mm_page_alloc", b"mm_page_free"):
        hold(tracepoint)
if os.fork() == 0:
    os.setsid()
    signal.pause()
