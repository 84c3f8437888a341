"""The access log's last step: lines from relays to standard output or a file, in a thread of its own.

Law: bytes in, bytes out; a line is not looked into. Whoever reads standard output may stop reading: then
the thread blocks, the queue fills, further lines are dropped and counted, and nothing else notices.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from pathlib import Path

log = logging.getLogger(__name__)

MOST_WAITING = 8 * 1024 * 1024
"""Bytes that may wait to be written."""
MODE = 0o640
"""Of a file that is made: lines say who called what from where."""
_STDOUT = 1
_AT_ONCE = 256 * 1024


class LogWriter:
    """``file`` None means standard output. A file is appended to, and opened anew when it was moved away: before the
    next line that is written, and at a ``look``. No line is lost or cut in two by that, with or without a signal.

    ``dropped_before``: what the writer before this one had dropped.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.dropped_before = 0
        self._places = [_Place(file)]

    @property
    def dropped(self) -> int:
        """Lines that found no room, or could not be written."""
        return self.dropped_before + sum(place.dropped for place in self._places)

    def add(self, lines: bytes) -> None:
        """Take lines, each ended by a newline, without waiting."""
        self._places[-1].add(lines)

    def look(self) -> None:
        """See now whether the file was moved away, even where no line comes. Without waiting."""
        self._places[-1].add(b"")

    def write_to(self, file: Path | None) -> None:
        """Write what comes from now on there; what has come before still goes where it was to go.

        Without waiting, since whoever reads standard output may never do so again.
        """
        if file != self._places[-1].file:
            self._places[-1].end()
            self._places.append(_Place(file))

    def close(self, within: float) -> None:
        """Write what waits, for at most so many seconds."""
        self._places[-1].end()
        give_up = time.monotonic() + within
        for place in self._places:
            place.join(max(0.0, give_up - time.monotonic()))


class _Place:
    """One file, or standard output, with a thread of its own that ends after ``end``."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.dropped = 0
        self._fd = _STDOUT if file is None else -1
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._trouble = ""
        self._lost = 0
        self._torn = False  # what was written last ends in the middle of a line
        # A daemon: a write that never returns must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="access log", daemon=True)
        self._thread.start()

    def add(self, lines: bytes) -> None:
        with self._lock:
            if self._waiting + len(lines) > MOST_WAITING:
                self.dropped += lines.count(b"\n")
                return
            self._waiting += len(lines)
        self._queue.put(lines)

    def end(self) -> None:
        self._queue.put(None)

    def join(self, within: float) -> None:
        self._thread.join(within)

    def _run(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._next()
            self._write(b"".join(batch))
        if self.file is not None and self._fd >= 0:
            os.close(self._fd)

    def _next(self) -> tuple[list[bytes], bool]:
        """What has come, up to a good measure for one write; True when nothing will follow."""
        batch: list[bytes] = []
        size = 0
        while size < _AT_ONCE and (not batch or not self._queue.empty()):
            lines = self._queue.get()
            if lines is None:
                return batch, True
            batch.append(lines)
            size += len(lines)
        return batch, False

    def _write(self, lines: bytes) -> None:
        rest = memoryview(lines)
        trouble = ""
        try:
            self._reopen_if_moved()
            if self._torn and rest:
                os.write(self._fd, b"\n")  # else the next line would be lost with the piece of the last
                self._torn = False
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:  # the disk is full, or the reader of standard output has gone
            trouble = error.strerror or type(error).__name__
            written = len(lines) - len(rest)
            self._torn = self._torn or (written > 0 and lines[written - 1 : written] != b"\n")
        lost = bytes(rest).count(b"\n")
        with self._lock:
            self.dropped += lost
            self._waiting -= len(lines)
        if lines or trouble:  # a look that found the file in its place says nothing of writing
            self._say_once(trouble, lost)

    def _say_once(self, trouble: str, lost: int) -> None:
        """Log that lines are being lost, and when that is over: not every line of them."""
        if trouble and not self._trouble:
            log.warning("access-log lines cannot be written and are lost: %s", trouble)
        elif self._trouble and not trouble:
            log.warning("access-log lines can be written again; %d were lost", self._lost)
        self._lost = self._lost + lost if trouble else 0
        self._trouble = trouble

    def _reopen_if_moved(self) -> None:
        """Follow a log rotation: the name decides, not the file it once meant."""
        if self.file is None or self._is_there():
            return
        try:
            fresh = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        except OSError:
            # Between its steps a rotation may leave no name to write to: as long as the old file is kept by another
            # name, lines are better there than nowhere.
            if self._fd < 0 or not os.fstat(self._fd).st_nlink:
                raise
            return
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._torn = fresh, False

    def _is_there(self) -> bool:
        """Whether the name still means the file that is open."""
        assert self.file is not None
        try:
            return self._fd >= 0 and os.path.samestat(os.stat(self.file), os.fstat(self._fd))
        except OSError:
            return False
