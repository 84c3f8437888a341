"""What the gateway's processes say of themselves: one line each, on standard error.

Law: for people and journals, about processes; what happens to requests goes to the access log, never here.

Whoever reads standard error may stop reading: a relay that waited for room there would serve nobody. So processes of
the gateway write to it through ``Unwaiting``, which drops what finds no room.
"""

from __future__ import annotations

import io
import logging
import os
import select
import stat
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from keystile.keys.secret import redact

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_PIECE: Final = select.PIPE_BUF
"""Bytes that a pipe takes whole when it says that it has room (poll(2), pipe(7))."""


class Redacting(logging.Formatter):
    """Formats what libraries log, tracebacks included, without the keys in it: a wrong request may hold one."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of ``record`` with every well-formed key redacted."""
        return redact(super().format(record))


class Unwaiting(io.RawIOBase):
    """Descriptor ``fd`` as a stream that takes a text at once or drops it (``dropped`` counts the writes).

    A pipe is opened anew where that is possible, since not to wait is a property that all who share an opening have:
    the shell's terminal is not ours to change.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.dropped = 0
        self._fd = fd
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            with suppress(OSError):  # another user's pipe, or no /proc: asking for room before each write has to do
                self._fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._room = select.poll()
        self._room.register(self._fd, select.POLLOUT)

    def writable(self) -> bool:
        """Say yes."""
        return True

    def fileno(self) -> int:
        """Return the descriptor that is written to."""
        return self._fd

    def isatty(self) -> bool:
        """Say whether a person looks at it."""
        return os.isatty(self._fd)

    def write(self, data: ReadableBuffer) -> int:
        """Write it, in pieces for which a pipe with room has room."""
        rest = memoryview(data)
        while rest and self._put(rest[:_PIECE]):
            rest = rest[_PIECE:]
        self.dropped += bool(rest)
        return memoryview(data).nbytes

    def _put(self, piece: memoryview) -> bool:
        try:
            return bool(self._room.poll(0)) and os.write(self._fd, piece) == len(piece)
        except OSError:  # no room, or nobody is left to tell
            return False


def wait_for_no_reader() -> None:
    """From now on nothing that this process says on standard error can make it wait; and any text can be said."""
    raw = Unwaiting(2)
    sys.stderr = io.TextIOWrapper(cast(BinaryIO, raw), "utf-8", "backslashreplace", write_through=True)


def catch_library_logs() -> None:
    """Send what this process's libraries log, from warnings on, to standard error without keys, and without waiting."""
    wait_for_no_reader()
    handler = logging.StreamHandler()
    handler.setFormatter(Redacting("%(asctime)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def log(text: str) -> None:
    """Write one line with the time (UTC); line breaks within are shown as spaces."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        sys.stderr.write(f"{stamp} keystile: {' '.join(text.splitlines())}\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # the journal is gone: nobody is left to tell
        return
