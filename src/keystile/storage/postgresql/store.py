"""The store in a PostgreSQL database, for those who may write: management and the command line, on any host.

Law: this file keeps ``keys.store.KeyStore``: one transaction at a time over all hosts (a lock of the database, which a
host that dies lets go of), kept by the database, and taken in by this host's own file (``mirror.py``) and rung before
it is said to be done. Other hosts hear of it by a notification (``keeper.py``).

Four connections: changes, reads (which see only what is committed, and ask again where the connection was lost),
uses (``synchronous_commit = off``: losing the last second of those is no loss), and the change log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from argon2 import PasswordHasher

from keystile.keys.store import UsageSum, Use
from keystile.storage.access import AccessFile, AccessStore
from keystile.storage.asking import Asking, Row
from keystile.storage.doorbell import LOCK_TIMEOUT
from keystile.storage.errors import StoreError, StoreMismatch, StoreUnreadable, busy
from keystile.storage.passwords import Passwords
from keystile.storage.postgresql import changes, connection, migrate, noting
from keystile.storage.postgresql.changes import News, Place
from keystile.storage.postgresql.connection import Connection
from keystile.storage.postgresql.database import Database
from keystile.storage.postgresql.mirror import DoesNotFit, Mirror
from keystile.storage.store import Store

_ON_DISK = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
_LATER = "SET synchronous_commit = off"
_ONLY_READS = "SET default_transaction_read_only = on"
_ATTEMPTS = 20
log = logging.getLogger(__name__)


class PostgresStore(Store):
    """The store in ``database``, and what this host keeps of it at ``path``. Make one with ``open``."""

    OF_KEYS = "key_id IN (SELECT jsonb_array_elements_text(CAST(? AS jsonb)))"

    def __init__(self, database: Database, mirror: Mirror, lock_timeout: float) -> None:
        super().__init__(
            mirror.path,
            mirror.bell,
            lock_timeout,
            Connection(database, _ON_DISK, lock=connection.KEYS, lock_timeout=lock_timeout),
            Connection(database, _ONLY_READS, repeats=True),
            Connection(database, _LATER, lock=connection.USES),
        )
        self.database = database
        self.mirror = mirror
        self._log = Connection(database, repeats=True)
        self._taking_in = asyncio.Lock()
        self._is_prepared = False

    @classmethod
    async def open(cls, database: Database, path: Path, lock_timeout: float = LOCK_TIMEOUT) -> PostgresStore:
        """Open the store, bringing it to this version's schema where needed.

        A database that cannot be reached is no error where this host has kept something of it: it goes on with that.
        Raises StoreMismatch in any case where the database is not for this version.
        """
        mirror = await asyncio.to_thread(Mirror.open, path)
        store = cls(database, mirror, lock_timeout)
        try:
            await store._prepare()
        except StoreError as fault:
            if isinstance(fault, StoreMismatch) or await asyncio.to_thread(mirror.place) is None:
                await store.close()
                raise
            log.warning("%s; this host goes on with the keys that it knows", fault)
        except BaseException:
            await store.close()
            raise
        return store

    async def take_in(self, *, ring: bool = False) -> News:
        """Let this host's file catch up with the database, and ring where keys have changed. Raises StoreError.

        ``ring``: also for what another process of this host has taken in, should it have died before it rang.
        """
        async with self._taking_in:
            await self._prepare_once()
            fits = True
            for _ in range(_ATTEMPTS):
                asked = time.monotonic()
                known = await asyncio.to_thread(self._known)
                news = await changes.since(self._log, known if fits else None)
                try:
                    if await asyncio.to_thread(self.mirror.take, known, news, ring=ring):
                        self.mirror.confirmed.note(time.monotonic() - asked)
                        return news
                except DoesNotFit as fault:
                    log.error("%s; all of it is read again", fault)
                    fits = False
        raise busy(self.path, "others have been writing it for too long")

    def _known(self) -> Place | None:
        try:
            return self.mirror.place()
        except StoreUnreadable as fault:
            self.mirror.mend(fault)
            log.warning("%s; it was made anew", fault)
            return None

    def look_again(self) -> None:
        """Look at the schema before the next question for what has changed: it may be another by now."""
        self._is_prepared = False

    async def close(self) -> None:
        """Close every connection."""
        await self._log.close()
        await super().close()

    async def _prepare(self) -> None:
        await self._prepare_once()
        await self.take_in()

    async def _prepare_once(self) -> None:
        """Look at the schema, once it can be reached."""
        if not self._is_prepared:
            await migrate.prepare(self.database)
            self._is_prepared = True

    async def _note_uses(self, connection: Asking, uses: Sequence[Use]) -> None:
        await noting.note_uses(connection, uses)

    async def _note_usage(self, connection: Asking, sums: Sequence[UsageSum]) -> None:
        await noting.note_usage(connection, sums)

    async def _commit_and_ring(self, logged: list[Row]) -> None:
        """Commit, and let this host know. What did happen though the commit failed, this host hears as others do."""
        try:
            await self._changes.commit()
        except StoreError:
            with suppress(StoreError):
                await self.take_in(ring=True)
            raise
        if not await asyncio.to_thread(self.mirror.has_told, *logged[0]):
            await self.take_in(ring=True)


async def open_access(database: Database) -> AccessStore:
    """Sessions, links and tokens in the database, shared by all hosts."""
    writes = Connection(database, _ON_DISK, lock=connection.ACCESS)
    return AccessStore(AccessFile(writes, Connection(database, _ONLY_READS, repeats=True)))


async def open_passwords(
    database: Database, hasher: PasswordHasher | None = None, clock: Callable[[], float] = time.time
) -> Passwords:
    """The passwords in the database."""
    writes = Connection(database, _ON_DISK, lock=connection.ACCESS, repeats=True)
    return Passwords(writes, hasher or PasswordHasher(), clock)
