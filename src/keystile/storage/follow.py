"""A relay's side of the store: fill a keyring at the start, and follow the change log when the bell has rung.

Law: reads only, synchronously: between "the bell has rung" and "the keyring is up to date" no request is
decided. What it reads is bounded: the rows that changed, or all keys where those would be more. The bell is
read before the log, so a change that comes while we read rings again.

It trusts its place in the log only while the row it caught up with last is still there with the same tag;
a log that was pruned beyond it, a store restored from a copy, or another store makes it load everything.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from keystile.keys.keyring import Keyring, KeyRow
from keystile.storage import migrate
from keystile.storage.doorbell import Doorbell
from keystile.storage.errors import StoreError, told, unreadable
from keystile.storage.rows import HELD_KEYS
from keystile.storage.window import TORN

BUSY_TIMEOUT = 0.25
"""Seconds that a read may block the relay. In WAL a read only waits for recovery or for a last closer."""
RETRY_PAUSE = 0.25
"""Seconds between attempts on a store that cannot be read, so that requests do not pay for each other."""
_BACKLOG = 10_000
_NEVER = -1
_NOWHERE = 2**63 - 1  # behind every row of a log

_STATE = """SELECT (SELECT value FROM meta WHERE name = 'uuid'),
    (SELECT tag FROM changes WHERE seq = ?1),
    (SELECT count(*) FROM changes WHERE seq > ?1),
    seq, tag FROM changes ORDER BY seq DESC LIMIT 1"""
_REVOKED = "SELECT DISTINCT key_id FROM changes WHERE seq > ? AND kind = 'revoke'"
_PUT = "SELECT DISTINCT key_id FROM changes WHERE seq > ? AND kind = 'put'"


class _Place(NamedTuple):
    """How far we are: in which store, and the row of its log that we caught up with last."""

    store: str
    seq: int
    tag: int


class _File(NamedTuple):
    """Which file the connection has open, and when its contents were last written through."""

    device: int
    inode: int
    size: int
    written: int


class KeyFollower:
    """Keeps ``keyring`` as the store at ``path`` says. ``clock`` gives Unix seconds, ``steady`` those since some start.

    On every request: ``if follower.words[0] != follower.seen: follower.catch_up()``.
    ``unreadable_since`` is when (by ``steady``, which nobody sets) the store was first found unreadable, None while it
    can be read, and ``unreadable_because`` says why. Raises StoreError when there can be no bell beside the store.
    """

    def __init__(
        self,
        path: Path,
        keyring: Keyring,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.seen = _NEVER
        self.unreadable_since: float | None = None
        self.unreadable_because: str | None = None
        self._keyring = keyring
        self._clock = clock
        self._steady = steady
        self._tried = 0.0
        self._tried_at = _NEVER  # the bell's count then
        self._dropped = float("-inf")
        self._place: _Place | None = None
        self._file: _File | None = None
        self._connection: sqlite3.Connection | None = None
        with told(path):
            self._bell = Doorbell(path)
        self.words = self._bell.words

    def load(self) -> None:
        """Fill the keyring with every key of the store. Raises StoreError."""
        self._place = None
        self._follow()

    def current(self) -> bool:
        """Say whether nothing has rung since we caught up: one read of memory."""
        return self.words[0] == self.seen

    def catch_up(self) -> bool:
        """Take in what has changed; False when the store cannot be read.

        Tried again only after a short pause, or when it has rung since: then somebody could write, and their next
        request must find what they wrote.
        """
        pauses = self.unreadable_since is not None and self._steady() - self._tried < RETRY_PAUSE
        if pauses and self.words[0] == self._tried_at:
            return False
        return self._try()

    def check(self) -> None:
        """Once a second: hear of what never rang (a writer that died, a bell or a store that was replaced)."""
        now = self._clock()
        if now < self._dropped:
            # The clock was ahead, and overlaps have been forgotten that have not ended after all.
            self._place, self._dropped = None, float("-inf")
        self._try()
        if self._keyring.drop_ended(now):
            self._dropped = now

    def close(self) -> None:
        """Let go of the store; the keyring stays as it is."""
        self._disconnect()
        self._bell.close()

    def _try(self) -> bool:
        self._tried, self._tried_at = self._steady(), self.words[0]
        try:
            self._follow()
        except StoreError as fault:
            self._disconnect()
            self.unreadable_because = str(fault)
            if self.unreadable_since is None:
                self.unreadable_since = self._tried
            return False
        return True

    def _follow(self) -> None:
        with told(self.path):
            heard = self._listen()
            with self._snapshot() as connection:
                self._read(connection)
        self.seen = heard
        self.unreadable_since = self.unreadable_because = None

    def _listen(self) -> int:
        """Return the count of the bell that is the store's now."""
        if self._bell.replaced():
            self._bell.reopen()
        count = self.words[0]
        return _NEVER if count == TORN else count

    def _read(self, connection: sqlite3.Connection) -> None:
        last = self._place.seq if self._place else _NOWHERE
        store, tag, behind, newest, newest_tag = connection.execute(_STATE, (last,)).fetchone()
        here = _Place(store, newest, newest_tag)
        whole_log = self._place == (store, last, tag) and behind == newest - last
        if not whole_log or behind > _BACKLOG:
            self._keyring.load_rows(map(KeyRow._make, connection.execute(HELD_KEYS)))
        elif behind:
            self._apply(connection, last)
        self._place = here

    def _apply(self, connection: sqlite3.Connection, last: int) -> None:
        """Take in the changes after row ``last``; revocations first, should the rest fail."""
        for (key_id,) in connection.execute(_REVOKED, (last,)):
            self._keyring.remove(key_id)
        gone = {key_id for (key_id,) in connection.execute(_PUT, (last,))}
        rows = connection.execute(f"{HELD_KEYS} WHERE k.id IN ({_PUT})", (last,)).fetchall()
        for row in map(KeyRow._make, rows):
            self._keyring.put(row)
            gone.discard(row.id)
        for key_id in gone:
            self._keyring.remove(key_id)

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """Read everything as it was at one moment."""
        connection = self._connected()
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.rollback()

    def _connected(self) -> sqlite3.Connection:
        """Return a connection to the file that is at the path now.

        Anew as well when the file itself was written: that is a checkpoint, or somebody who copied another
        store over it, and only a new connection is sure not to remember old pages.
        """
        there = _file(self.path)
        if self._connection is None or there != self._file:
            self._disconnect()
            self._connection = self._connect()
            self._file = there
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        # Never "immutable": that would promise that nobody writes. Read-only, SQLite may still make the
        # -wal and -shm files, so the relay needs the right to write in the directory, or to find them there.
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        # A relay may load in one thread and follow in another, never in two at once.
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT, check_same_thread=False)
        try:
            if migrate.check(connection, self.path, migrate.STORE) == 0:
                raise unreadable(self.path, "it is empty")
        except BaseException:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _file(path: Path) -> _File:
    found = os.stat(path)
    return _File(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
