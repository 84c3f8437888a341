"""The store of accounts and keys in one SQLite file, for those who may write: management and the command line.

Law: this file keeps ``keys.store.KeyStore``: one transaction at a time over all processes, on disk
(``synchronous=FULL``) and rung before it is said to be done. Relays read by ``follow.py``.

Three connections: changes, reads (which see only what is committed), and last uses (``synchronous=NORMAL``:
losing the last second of those to a power cut is no loss, and they never ring).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType

from keystile.keys.audit import AuditEvent
from keystile.keys.key import Account, ApiKey
from keystile.keys.store import UsageSum, Use
from keystile.storage import rows
from keystile.storage.connection import Connection
from keystile.storage.doorbell import LOCK_TIMEOUT, Doorbell
from keystile.storage.errors import told
from keystile.storage.migrate import STORE, make_file, prepare
from keystile.storage.settled import settled
from keystile.storage.transaction import SqliteTransaction

_NEWEST = 2**63 - 1
_USED = """INSERT INTO last_uses (key_id, at, address) SELECT id, ?2, ?3 FROM keys WHERE id = ?1
    ON CONFLICT (key_id) DO UPDATE SET at = excluded.at, address = excluded.address
    WHERE excluded.at > last_uses.at"""

_COUNTED = """INSERT INTO usage (key_id, hour, refusal, requests) SELECT id, ?2, ?3, ?4 FROM keys WHERE id = ?1
    ON CONFLICT (key_id, hour, refusal) DO UPDATE SET requests = requests + excluded.requests"""
_USAGE = "SELECT key_id, hour, refusal, requests FROM usage WHERE key_id = ? AND hour >= ? ORDER BY hour, refusal"


class SqliteStore:
    """The store at ``path``. Make one with ``open``; everything may raise StoreError."""

    def __init__(self, path: Path, bell: Doorbell, lock_timeout: float) -> None:
        self.path = path
        self._bell = bell
        self._lock_timeout = lock_timeout
        # First come, first served within this process; the bell's lock is between processes.
        self._turn = asyncio.Lock()
        self._noting = asyncio.Lock()
        self._changes = Connection(path, "synchronous = FULL", "foreign_keys = ON")
        self._reads = Connection(path, "query_only = ON")
        self._uses = Connection(path, "synchronous = NORMAL", "foreign_keys = ON")

    @classmethod
    async def open(cls, path: Path, lock_timeout: float = LOCK_TIMEOUT) -> SqliteStore:
        """Open the store, making it (0600) or bringing it to this version's schema where needed.

        ``lock_timeout``: seconds to wait for another process that is changing keys, before StoreBusy.
        """
        bell = await asyncio.to_thread(_prepared, path)
        return cls(path, bell, lock_timeout)

    async def close(self) -> None:
        """Close every connection."""
        for connection in (self._changes, self._reads, self._uses):
            await connection.close()
        self._bell.close()

    async def __aenter__(self) -> SqliteStore:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def change(self) -> AsyncIterator[SqliteTransaction]:
        """Return one transaction: when the block has ended it is on disk, and the bell has rung.

        Raising in the block undoes all of it. Only one at a time, so never one within another.
        """
        async with self._turn, self._bell.locked_async(self._lock_timeout):
            try:
                await self._changes.begin()
                yield SqliteTransaction(self._changes)
            except BaseException:
                await self._changes.roll_back()
                raise
            # From here on no cancellation: what is committed must ring.
            await settled(self._commit_and_ring())

    async def account(self, email: str) -> Account | None:
        """Return the account with this address in its canonical spelling."""
        return await (await self._reading()).account(email)

    async def keys(self, account_id: str | None = None) -> tuple[ApiKey, ...]:
        """Return the keys of one account, or of all, by e-mail address and name."""
        return await (await self._reading()).keys(account_id)

    async def key(self, account_id: str, name: str) -> ApiKey | None:
        """Return the key of that name."""
        return await (await self._reading()).key(account_id, name)

    async def accounts(self) -> tuple[Account, ...]:
        """Return all accounts by e-mail address."""
        await self._reads.renew()
        return tuple(map(rows.account, await self._reads.ask(f"{rows.ACCOUNTS} ORDER BY email")))

    async def events(self, limit: int = 100, before: int | None = None) -> tuple[AuditEvent, ...]:
        """Return the newest events first; ``before``: only those with a smaller ``seq``."""
        await self._reads.renew()
        values = (_NEWEST if before is None else before, limit)
        return tuple(map(rows.event, await self._reads.ask(rows.EVENTS, values)))

    async def record_uses(self, uses: Iterable[Use]) -> None:
        """Keep last uses in one transaction; older ones than known, and those of keys that are gone, are dropped."""
        await self._note(_USED, uses)

    async def record_usage(self, sums: Iterable[UsageSum]) -> None:
        """Add sums of usage in one transaction; those of keys that are gone are dropped."""
        await self._note(_COUNTED, sums)

    async def usage(self, key_id: str, since_hour: int) -> tuple[UsageSum, ...]:
        """The sums of a key from an hour (since 1970) on, oldest first."""
        return tuple(await self._reads.ask(_USAGE, (key_id, since_hour)))

    async def _note(self, statement: str, rows_: Iterable[tuple[object, ...]]) -> None:
        async with self._noting:
            try:
                await self._uses.begin()
                await self._uses.many(statement, list(rows_))
                await self._uses.commit()
            except BaseException:
                await self._uses.roll_back()
                raise

    async def _reading(self) -> rows.SqliteReading:
        await self._reads.renew()
        return rows.SqliteReading(self._reads)

    async def _commit_and_ring(self) -> None:
        try:
            await self._changes.commit()
        finally:
            # Rung whatever came of it: a ring too many costs a look, one too few a revoked key that works.
            with told(self.path):
                self._bell.ring()


@contextmanager
def _locked_and_rung(bell: Doorbell) -> Iterator[None]:
    with bell.locked():
        yield
        bell.ring()


def _prepared(path: Path) -> Doorbell:
    make_file(path)
    with told(path):
        bell = Doorbell(path)
    try:
        prepare(path, STORE, _locked_and_rung(bell))
    except BaseException:
        bell.close()
        raise
    return bell
