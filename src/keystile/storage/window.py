"""Eight bytes of a file seen through memory: one read without a system call, that cannot kill the reader.

Law: this file knows memory and files and nothing of what the bytes mean. Linux only.

Reading a mapped page whose file was truncated raises SIGBUS, which ends a process. Once a ``Window`` exists,
a handler puts a page of its own there, filled with ones, and the read goes on: the reader sees a number that
no file holds (``TORN``). The handler is entered by the very instruction that read, while that thread holds
the interpreter's lock, so it may run Python (through ctypes); a SIGBUS at any other address goes where it
went before. A system call per read (``os.pread``) would need no such thing, and costs ten times as much.
"""

from __future__ import annotations

import ctypes
import mmap
import signal
import weakref

TORN = 2**64 - 1
_PAGE = mmap.PAGESIZE
_MAP_FIXED = 0x10
_MAP_FAILED = ctypes.c_void_p(-1).value
_SA_SIGINFO = 4
_ADDRESS_IN_SIGINFO = 16  # offset of si_addr in siginfo_t on 64-bit Linux

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]


class Window:
    """A page of memory that shows the beginning of one file after another, always at the same address.

    ``words`` is a read-only view of its first eight bytes as one number, in the machine's byte order; it
    stays good for the life of the window, whatever file is shown.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _PAGE)
        anchor = ctypes.c_char.from_buffer(self._memory)
        self._address = ctypes.addressof(anchor)
        # Python unmaps the page when nothing refers to it any more; the view and the anchor do.
        self._anchor = anchor
        self.words: memoryview[int] = memoryview(self._memory)[:8].cast("Q").toreadonly()
        _guard(self._address)
        # Whoever still holds the view when the window is gone reads TORN, and no file can hurt it.
        weakref.finalize(self, _let_go, self._address)

    def show(self, fd: int) -> None:
        """Show the beginning of this file, of at least one byte; the descriptor may be closed afterwards.

        Raises OSError.
        """
        _map(self._address, mmap.PROT_READ, mmap.MAP_SHARED, fd)

    def close(self) -> None:
        """Show nothing any more: the number stays ``TORN``."""
        _tear(self._address)


def _map(address: int, protection: int, flags: int, fd: int) -> None:
    if _libc.mmap(address, _PAGE, protection, flags | _MAP_FIXED, fd, 0) == _MAP_FAILED:
        number = ctypes.get_errno()
        raise OSError(number, "a page of a file cannot be mapped")


def _tear(address: int) -> None:
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    _map(address, protection, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)
    ctypes.memset(address, 0xFF, 8)


def _let_go(address: int) -> None:
    _tear(address)
    _watched.discard(address)


# The handler: one for the process, installed with the first window.


class _Action(ctypes.Structure):
    """The C library's ``struct sigaction`` on 64-bit Linux."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_byte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


_watched: set[int] = set()
_before = _Action()


def _torn(number: int, info: int, _context: int) -> None:
    where = ctypes.c_size_t.from_address(info + _ADDRESS_IN_SIGINFO).value
    page = where - where % _PAGE
    if page in _watched:
        _tear(page)
    else:
        # Not ours: as before us, and the instruction will fault again.
        _libc.sigaction(number, ctypes.byref(_before), None)


# Kept for good: the kernel has its address.
_handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(_torn)


def _guard(address: int) -> None:
    if not _watched:
        action = _Action(handler=ctypes.cast(_handler, ctypes.c_void_p), flags=_SA_SIGINFO)
        current = _Action()
        _libc.sigaction(signal.SIGBUS, ctypes.byref(action), ctypes.byref(current))
        if current.handler != action.handler:
            ctypes.memmove(ctypes.byref(_before), ctypes.byref(current), ctypes.sizeof(_Action))
    _watched.add(address)
