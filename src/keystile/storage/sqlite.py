"""The store in one SQLite file, for those who may write: management and the command line.

Law: this file keeps ``keys.store.KeyStore``: one transaction at a time over all processes, on disk
(``synchronous=FULL``) and rung before it is said to be done. Relays read by ``follow.py``.

Three connections: changes, reads (which see only what is committed), and last uses (``synchronous=NORMAL``:
losing the last second of those to a power cut is no loss, and they never ring).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from pathlib import Path

from keystile.keys.store import UsageSum, Use
from keystile.storage import noting
from keystile.storage.asking import Asking, Row
from keystile.storage.connection import Connection
from keystile.storage.doorbell import LOCK_TIMEOUT, Doorbell
from keystile.storage.errors import StoreError, told, unreadable
from keystile.storage.migrate import BUSY_TIMEOUT, STORE, make_file, prepare
from keystile.storage.passwords import passwords_of
from keystile.storage.store import LAST_LOGGED, Store


class SqliteStore(Store):
    """The store at ``path``. Make one with ``open``; everything may raise StoreError."""

    OF_KEYS = "key_id IN (SELECT value FROM json_each(?))"

    def __init__(self, path: Path, bell: Doorbell, lock_timeout: float) -> None:
        changes = Connection(path, "synchronous = FULL", "foreign_keys = ON")
        uses = Connection(path, "synchronous = NORMAL", "foreign_keys = ON")
        super().__init__(path, bell, lock_timeout, changes, Connection(path, "query_only = ON"), uses)
        self._rung: list[Row] = []  # the last row of the log when we rang last

    @classmethod
    async def open(cls, path: Path, lock_timeout: float = LOCK_TIMEOUT) -> SqliteStore:
        """Open the store, making it (0600) or bringing it to this version's schema where needed.

        ``lock_timeout``: seconds to wait for another process that is changing keys, before StoreBusy.
        """
        bell = await asyncio.to_thread(_prepared, path)
        return cls(path, bell, lock_timeout)

    async def _note_uses(self, connection: Asking, uses: Sequence[Use]) -> None:
        await noting.note_uses(connection, uses)

    async def _note_usage(self, connection: Asking, sums: Sequence[UsageSum]) -> None:
        await noting.note_usage(connection, sums)

    def _alone(self) -> AbstractAsyncContextManager[None]:
        return self._bell.locked_async(self._lock_timeout)

    async def _commit_and_ring(self, logged: list[Row]) -> None:
        """Commit; ring unless the log of key changes is as it was when we rang last, for that is all relays read.

        So another's changes ring as well, should it have died before it rang. What did not happen does not ring.
        """
        try:
            await self._changes.commit()
        except StoreError:
            if await self._may_have_happened(logged):
                self._ring(logged)
            raise
        except BaseException:
            # Nobody waits any more. A ring too many costs a look, one too few a revoked key that works.
            self._ring(logged)
            raise
        self._ring(logged)

    async def _may_have_happened(self, logged: list[Row]) -> bool:
        """Whether a commit that failed left its rows; where nobody can say, yes: a ring too many costs a look."""
        try:
            return await self._changes.ask(LAST_LOGGED) == logged
        except StoreError:
            return True

    def _ring(self, logged: list[Row]) -> None:
        if logged != self._rung:
            with told(self.path):
                self._bell.ring()
        self._rung = logged


@contextmanager
def _locked_and_rung(bell: Doorbell) -> Iterator[None]:
    with bell.locked():
        yield
        bell.ring()


def _prepared(path: Path) -> Doorbell:
    _not_lost(path)
    make_file(path)
    with told(path):
        bell = Doorbell(path)
    try:
        prepare(path, STORE, _locked_and_rung(bell))
        _not_a_mirror(path)
    except BaseException:
        bell.close()
        raise
    return bell


def _not_a_mirror(path: Path) -> None:
    """Raise StoreUnreadable for what a host keeps of a database: whatever is written to it would not last."""
    with told(path), closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT)) as connection:
        if connection.execute("SELECT 1 FROM meta WHERE name = 'source'").fetchone():
            raise unreadable(path, "it is no store, but what a host keeps of one in a database; name the database")


def _not_lost(path: Path) -> None:
    """Raise StoreUnreadable where a store was, and is gone: an empty one in its place would refuse every key.

    The passwords are made after the store; so whoever makes it for the first time finds none.
    """
    passwords = passwords_of(path)
    if not path.exists() and passwords.exists():
        remedy = f"put it back, or take {passwords.name} away as well to begin with an empty one"
        raise unreadable(path, f"it is gone, but the passwords beside it are there; {remedy}")
