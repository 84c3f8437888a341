"""The store's questions and notes, in SQL that SQLite and PostgreSQL both read: the part that engines share.

Law: no engine is known here but by its connections (``asking.py``). What one of them must say otherwise is an
attribute of the class; how a transaction begins, ends and is announced is the engine's own (``sqlite.py``,
``postgresql.py``). Placeholders are SQLite's (``?``, ``?1``), which count from 1.
"""

from __future__ import annotations

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from keystile.keys.audit import AuditEvent, What
from keystile.keys.key import Account, ApiKey, SmtpCredential
from keystile.keys.store import OldTls, OldTlsUse, Recent, UsageSum, Use
from keystile.storage import rows, statements
from keystile.storage.asking import Asking, Row
from keystile.storage.doorbell import Doorbell
from keystile.storage.errors import StoreError
from keystile.storage.settled import settled
from keystile.storage.smtp_rows import USED
from keystile.storage.transaction import SqlTransaction
from keystile.storage.turn import in_turn

# Its tag as well: in a store that was set back to a copy, the number has been there before.
LAST_LOGGED = "SELECT seq, tag FROM changes ORDER BY seq DESC LIMIT 1"
_NEWEST = 2**63 - 1
_PASSWORD_SET = """SELECT 1 FROM accounts AS a JOIN audit AS e ON e.account = a.email
    WHERE e.what = ? AND e.at >= a.created LIMIT 1"""
log = logging.getLogger(__name__)


class Store(ABC):
    """What both engines' stores answer and note; everything may raise StoreError.

    ``path``: of the store's file, or of what this host keeps of one in a database: beside it lie the other files.
    """

    OF_KEYS: ClassVar[str]
    """Which rows are of the keys that one value, a JSON list, names."""

    path: Path

    def __init__(
        self, path: Path, bell: Doorbell, lock_timeout: float, changes: Asking, reads: Asking, uses: Asking
    ) -> None:
        self.path = path
        self._bell = bell
        self._lock_timeout = lock_timeout
        # First come, first served within this process; between processes and hosts it is the engine's.
        self._turn = asyncio.Lock()
        self._noting = asyncio.Lock()
        self._changes, self._reads, self._uses = changes, reads, uses

    @asynccontextmanager
    async def change(self) -> AsyncIterator[SqlTransaction]:
        """Return one transaction: when the block has ended it is kept, and known to every relay of this host.

        Raising in the block undoes all of it. Only one at a time, so never one within another.
        """
        async with in_turn(self._turn, self._lock_timeout, self._changes.place), self._alone():
            try:
                await self._changes.begin()
                yield SqlTransaction(self._changes)
                logged = await self._changes.ask(LAST_LOGGED)
            except BaseException:
                await self._changes.roll_back()
                raise
            # From here on no cancellation: what is committed must ring.
            await settled(self._commit_and_ring(logged))

    def _alone(self) -> AbstractAsyncContextManager[None]:
        """Be the only one on this host who changes keys, where the transaction alone does not see to it."""
        return nullcontext()

    @abstractmethod
    async def _commit_and_ring(self, logged: list[Row]) -> None:
        """Commit; ring where the change log, whose last row is ``logged`` now, has more than when we rang last."""

    async def close(self) -> None:
        """Close every connection."""
        for connection in (self._changes, self._reads, self._uses):
            await connection.close()
        self._bell.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Questions

    async def account(self, email: str) -> Account | None:
        """Return the account with this address in its canonical spelling."""
        return await (await self._reading()).account(email)

    async def account_by_id(self, account_id: str) -> Account | None:
        """Return the account with this id."""
        return await (await self._reading()).account_by_id(account_id)

    async def accounts(self) -> tuple[Account, ...]:
        """Return all accounts by e-mail address."""
        return tuple(map(rows.account, await self._asked(f"{rows.ACCOUNTS} ORDER BY email")))

    async def keys(self, account_id: str | None = None) -> tuple[ApiKey, ...]:
        """Return the keys of one account, or of all, by e-mail address and name."""
        return await (await self._reading()).keys(account_id)

    async def key(self, account_id: str, name: str) -> ApiKey | None:
        """Return the key of that name."""
        return await (await self._reading()).key(account_id, name)

    async def key_by_id(self, key_id: str) -> ApiKey | None:
        """Return the key with this id, whoever's it is."""
        return await (await self._reading()).key_by_id(key_id)

    async def count_keys(self, account_id: str | None = None) -> int:
        """Return how many keys the account owns, or how many there are; no key is read for it."""
        return await (await self._reading()).count_keys(account_id)

    async def count_accounts(self) -> int:
        """Return how many accounts there are."""
        [(count,)] = await self._asked("SELECT count(*) FROM accounts")
        return int(count)

    async def keys_by_account(self) -> dict[str, int]:
        """Return how many keys each account owns, by the account's id; those without any are left out."""
        return dict(await self._asked("SELECT account_id, count(*) FROM keys GROUP BY account_id"))

    async def smtp_credentials(self, account_id: str | None = None) -> tuple[SmtpCredential, ...]:
        """Return the SMTP credentials of one account, or of all, by e-mail address and name."""
        return await (await self._reading()).smtp_credentials(account_id)

    async def smtp_credential(self, account_id: str, name: str) -> SmtpCredential | None:
        """Return the SMTP credential of that name."""
        return await (await self._reading()).smtp_credential(account_id, name)

    async def smtp_credential_by_id(self, credential_id: str) -> SmtpCredential | None:
        """Return the SMTP credential with this id, whoever's it is."""
        return await (await self._reading()).smtp_credential_by_id(credential_id)

    async def smtp_credential_by_digest(self, digest: bytes) -> SmtpCredential | None:
        """Return the SMTP credential whose secret has this SHA-256."""
        return await (await self._reading()).smtp_credential_by_digest(digest)

    async def count_smtp_credentials(self, account_id: str | None = None) -> int:
        """Return how many SMTP credentials the account owns, or how many there are."""
        return await (await self._reading()).count_smtp_credentials(account_id)

    async def had_passwords(self) -> bool:
        """Whether a password was ever set for an account that is there: then the passwords' file is not a new one."""
        return bool(await self._asked(_PASSWORD_SET, (What.PASSWORD_SET.value,)))

    async def events(
        self, limit: int = 100, before: int | None = None, account: str | None = None
    ) -> tuple[AuditEvent, ...]:
        """Return the newest events first; ``before``: only those with a smaller ``seq``; of one e-mail address."""
        # Within what SQLite can count, whatever was asked; below zero it would mean no limit at all.
        place = (_NEWEST if before is None else min(max(before, 0), _NEWEST), min(max(limit, 0), _NEWEST))
        if account is None:
            return tuple(map(rows.event, await self._asked(rows.EVENTS, place)))
        return tuple(map(rows.event, await self._asked(rows.EVENTS_OF_ACCOUNT, (*place, account))))

    async def usage(self, key_id: str, since_hour: int) -> tuple[UsageSum, ...]:
        """The sums of a key from an hour (since 1970) on, oldest first."""
        return await self.usage_of([key_id], since_hour)

    async def usage_of(self, key_ids: Iterable[str], since_hour: int) -> tuple[UsageSum, ...]:
        """Return the sums of these keys from an hour (since 1970) on, by key and hour."""
        return tuple(await self._asked(statements.USAGE.format(self.OF_KEYS), (json.dumps(list(key_ids)), since_hour)))

    async def recent(self, key_ids: Iterable[str], since_hour: int) -> dict[str, Recent]:
        """Return for each of these keys what was asked with it from an hour on; unused ones are left out."""
        found = await self._asked(statements.RECENT.format(self.OF_KEYS), (json.dumps(list(key_ids)), since_hour))
        return {key_id: Recent(requests, refused) for key_id, requests, refused in found}

    async def old_tls(self, since: float, limit: int, account_id: str | None = None) -> tuple[OldTlsUse, ...]:
        """Return who has called over old TLS versions since a moment, the latest first; of one account, or all."""
        return tuple(OldTlsUse(*row) for row in await self._asked(statements.OLD_TLS, (since, limit, account_id)))

    # Uses and usage: not worth a ring

    async def record_uses(self, uses: Iterable[Use]) -> None:
        """Keep last uses in one transaction; older ones than known, and those of keys that are gone, are dropped."""
        many = list(uses)
        async with self._noted() as connection:
            await self._note_uses(connection, many)

    async def record_usage(self, sums: Iterable[UsageSum]) -> None:
        """Add sums of usage in one transaction; those of keys that are gone are dropped."""
        many = list(sums)
        async with self._noted() as connection:
            await self._note_usage(connection, many)

    async def record_old_tls(self, seen: Iterable[OldTls]) -> None:
        """Add up who calls over old TLS versions; of each key only the ``OLD_ADDRESSES`` seen latest are kept."""
        many = list(seen)
        keys = [(key,) for key in dict.fromkeys(one[0] for one in many)]
        async with self._noted() as connection:
            await connection.many(statements.SAW_OLD, many)
            await connection.many(statements.FORGET_OLD, keys)

    async def record_smtp_use(self, credential_id: str, at: float, address: str) -> None:
        """Keep the last use of an SMTP credential; what cannot be kept is logged, and no error.

        A last use is a convenience: a full disk must not end the sending of mail that could go on.
        """
        try:
            async with self._noted() as connection:
                await connection.many(USED, [(credential_id, at, address)])
        except StoreError as error:
            log.warning("the last use of SMTP credential %s cannot be kept: %s", credential_id, error)

    @abstractmethod
    async def _note_uses(self, connection: Asking, uses: Sequence[Use]) -> None:
        """Do what ``record_uses`` says within a transaction. Raises ValueError for a mark that is none."""

    @abstractmethod
    async def _note_usage(self, connection: Asking, sums: Sequence[UsageSum]) -> None:
        """Do what ``record_usage`` says within a transaction."""

    @asynccontextmanager
    async def _noted(self) -> AsyncIterator[Asking]:
        """One transaction of what is noted."""
        async with self._noting:
            try:
                await self._uses.begin()
                yield self._uses
                await self._uses.commit()
            except BaseException:
                await self._uses.roll_back()
                raise

    async def _asked(self, sql: str, values: tuple[object, ...] = ()) -> list[Row]:
        await self._reads.renew()
        return await self._reads.ask(sql, values)

    async def _reading(self) -> rows.SqlReading:
        await self._reads.renew()
        return rows.SqlReading(self._reads)
