"""This process's memory: how much it has, and what of the free part the C library keeps.

Law: the kernel's and the C library's figures in and out; who has to make room is ``relay/relief.py``'s.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Final

#: Free bytes that stay at the end of the heap, and from how many on a piece gets pages of its own. Left to itself glibc
#: learns both from what is freed first, and then some relays fetch the pages of each piece of a body anew: 2.1 s of CPU
#: for a gigabyte in chunks, where others take 0.8 (docs/performance.md).
KEPT: Final = 4 << 20
LEAST_MAPPED: Final = 1 << 20

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_libc: Final = ctypes.CDLL(None)
_TRIM: Final = getattr(_libc, "malloc_trim", None)  # glibc; others give back by themselves
_MALLOPT: Final = getattr(_libc, "mallopt", None)
# Of mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


@cache
def _statm() -> int:
    """Kept open: a relay that has no free descriptor must be weighed too."""
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def resident() -> int:
    """Bytes that this process has in memory."""
    return int(os.pread(_statm(), 200, 0).split()[1]) * _PAGE


def trim() -> None:
    """Have the C library give free memory back to the system, where it can (malloc_trim(3))."""
    if _TRIM is not None:
        _TRIM(0)


def keep_some() -> None:
    """Have it keep a little of what is free all the same, for the next piece of a body (mallopt(3))."""
    if _MALLOPT is not None:
        _MALLOPT(_M_TRIM_THRESHOLD, KEPT)
        _MALLOPT(_M_MMAP_THRESHOLD, LEAST_MAPPED)
