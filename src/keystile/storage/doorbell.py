"""The doorbell: eight bytes in a file beside the store, by which a writer tells every process to look again.

Law: this file knows a counter and a lock and nothing of keys. Only inequality of counts means anything.

Whoever commits a change holds the lock from before the transaction until it has rung. The file is made once,
with 0600, and never truncated by us. A bell that is new, or was truncated by somebody, goes on from a number
drawn at random, so that it never shows a count that somebody has already caught up with. Little-endian.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import random
import secrets
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from keystile.storage.errors import busy
from keystile.storage.window import TORN, Window

LOCK_TIMEOUT = 10.0
"""Seconds that we wait for another writer."""
_SIZE = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.01


def doorbell_of(store: Path) -> Path:
    """Return the path of the doorbell of this store, the same by whatever symbolic link the store is called."""
    real = store.resolve()
    return real.with_name(real.name + ".doorbell")


class Doorbell:
    """The bell of the store at ``store``, made when missing.

    ``words[0]`` is its count: one memory read, on every request. ``words`` stays the same object for good.
    Raises OSError when the file cannot be made or opened.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._fd = -1
        # Between threads and tasks of this process; flock is between processes (and other Doorbells).
        self._turn = threading.Lock()
        self._window = Window()
        self.words = self._window.words
        self._open()

    def count(self) -> int:
        """Return the count as it is now."""
        return self.words[0]

    def ring(self) -> None:
        """Count on; the lock must be held, or rings of two writers may be counted as one."""
        _ring(self._fd)
        if self.replaced():  # since we took the lock; some listen to the old bell, some to the new one
            self._open()
            _ring(self._fd)

    def replaced(self) -> bool:
        """Say whether the store's bell is another file by now, or this one has been truncated."""
        mine = os.fstat(self._fd)
        try:
            there = os.stat(doorbell_of(self._store))
        except FileNotFoundError:
            return True
        same = (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
        return not same or mine.st_size < _SIZE or self.words[0] == TORN

    def reopen(self) -> None:
        """Go over to the file that is the store's bell now, making it whole where it must be."""
        self._open()

    def close(self) -> None:
        """Let go of the file; ``words`` may still be read and shows ``TORN``."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._window.close()

    @contextmanager
    def locked(self, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
        """Be the only writer on this machine. Raises StoreBusy after ``timeout`` seconds."""
        end, pause = time.monotonic() + timeout, _FIRST_PAUSE
        while not self._try_lock():
            self._give_up_after(end)
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE)
        try:
            yield
        finally:
            self._unlock()

    @asynccontextmanager
    async def locked_async(self, patience: float = LOCK_TIMEOUT) -> AsyncIterator[None]:
        """The same without blocking the event loop. Raises StoreBusy after ``patience`` seconds.

        Asks again and again rather than waiting in a thread: a thread that waits for a lock cannot be
        cancelled, and would get it when nobody is there any more to give it back.
        """
        end, pause = time.monotonic() + patience, _FIRST_PAUSE
        while not self._try_lock():
            self._give_up_after(end)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE)
        try:
            yield
        finally:
            self._unlock()

    def _give_up_after(self, end: float) -> None:
        if time.monotonic() > end:
            raise busy(self._store, "another process has been changing keys for too long")

    def _try_lock(self) -> bool:
        if not self._turn.acquire(blocking=False):
            return False
        locked = False
        try:
            locked = self._lock_file()
        finally:
            if not locked:
                self._turn.release()
        return locked

    def _lock_file(self) -> bool:
        if not _flock(self._fd):
            return False
        if not self.replaced():
            return True
        # A lock on a file that others no longer open is no lock. Who still listens to it may as well hear.
        _ring(self._fd)
        self._open()
        return _flock(self._fd) and not self.replaced()

    def _unlock(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._turn.release()

    def _open(self) -> None:
        self.path = doorbell_of(self._store)
        fd = _opened(self.path)
        try:
            _make_whole(fd)
            self._window.show(fd)
        except BaseException:
            os.close(fd)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd


def _opened(path: Path) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        # Nobody writes on a read-only file system, but whoever only listens need not.
        return os.open(path, os.O_RDONLY | flags)


def _flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_whole(fd: int) -> None:
    """Let a file that is too short have its eight bytes, the only change of size there ever is."""
    if os.fstat(fd).st_size < _SIZE:
        os.ftruncate(fd, _SIZE)
        # Two who do this at once only make the count jump twice.
        _write(fd, secrets.randbits(62))


def _ring(fd: int) -> None:
    known = os.pread(fd, _SIZE, 0)
    whole = len(known) == _SIZE
    _write(fd, int.from_bytes(known, "little") + 1 if whole else secrets.randbits(62))


def _write(fd: int, count: int) -> None:
    # pwrite rather than memory: were the file truncated at this moment, it is an error and no signal.
    os.pwrite(fd, (count % TORN).to_bytes(_SIZE, "little"), 0)
