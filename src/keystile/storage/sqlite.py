"""The store in one SQLite file, for those who may write: management and the command line.

Law: this file keeps ``keys.store.KeyStore``: one transaction at a time over all processes, on disk
(``synchronous=FULL``) and rung before it is said to be done. Relays read by ``follow.py``.

Three connections: changes, reads (which see only what is committed), and last uses (``synchronous=NORMAL``:
losing the last second of those to a power cut is no loss, and they never ring).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType

from keystile.keys.audit import AuditEvent, What
from keystile.keys.key import Account, ApiKey, SmtpCredential
from keystile.keys.secret import DIGEST_BYTES
from keystile.keys.store import OldTls, OldTlsUse, Recent, UsageSum, Use
from keystile.storage import rows
from keystile.storage.connection import Connection, Row
from keystile.storage.doorbell import LOCK_TIMEOUT, Doorbell
from keystile.storage.errors import StoreError, told, unreadable
from keystile.storage.migrate import STORE, make_file, prepare
from keystile.storage.passwords import passwords_of
from keystile.storage.settled import settled
from keystile.storage.smtp_rows import USED
from keystile.storage.transaction import SqliteTransaction
from keystile.storage.turn import in_turn

_NEWEST = 2**63 - 1
# Its tag as well: in a store that was set back to a copy, the number has been there before.
_LAST_LOGGED = "SELECT seq, tag FROM changes ORDER BY seq DESC LIMIT 1"
_USED = """INSERT INTO last_uses (key_id, at, address) SELECT id, ?2, ?3 FROM keys WHERE id = ?1
    ON CONFLICT (key_id) DO UPDATE SET at = excluded.at, address = excluded.address
    WHERE excluded.at > last_uses.at"""

_USED_SECRET = """INSERT INTO secret_uses (digest, at, address) SELECT digest, ?3, ?4 FROM digests
    WHERE digest BETWEEN ?1 AND ?2
    ON CONFLICT (digest) DO UPDATE SET at = excluded.at, address = excluded.address
    WHERE excluded.at > secret_uses.at"""
_COUNTED = """INSERT INTO usage (key_id, hour, refusal, requests) SELECT id, ?2, ?3, ?4 FROM keys WHERE id = ?1
    ON CONFLICT (key_id, hour, refusal) DO UPDATE SET requests = requests + excluded.requests"""
#: Addresses that are kept for each key that came over old TLS versions.
OLD_ADDRESSES = 20
_SAW_OLD = """INSERT INTO old_tls (key_id, version, address, first_at, last_at, requests)
    SELECT id, ?2, ?3, ?4, ?4, ?5 FROM keys WHERE id = ?1
    ON CONFLICT (key_id, version, address) DO UPDATE
    SET last_at = max(last_at, excluded.last_at), requests = requests + excluded.requests"""
_FORGET_OLD = f"""DELETE FROM old_tls WHERE key_id = ?1 AND (version, address) NOT IN
    (SELECT version, address FROM old_tls WHERE key_id = ?1 ORDER BY last_at DESC LIMIT {OLD_ADDRESSES})"""
_OLD_TLS = """SELECT a.email, k.id, k.name, d.hint, o.version, o.address, o.first_at, o.last_at, o.requests
    FROM old_tls AS o JOIN keys AS k ON k.id = o.key_id JOIN accounts AS a ON a.id = k.account_id
    JOIN digests AS d ON d.key_id = k.id AND d.until IS NULL
    WHERE o.last_at >= ?1 AND (?3 IS NULL OR k.account_id = ?3) ORDER BY o.last_at DESC, k.id, o.address LIMIT ?2"""
# The keys as one JSON list, so that however many there are it is one statement with one value.
_OF_KEYS = "key_id IN (SELECT value FROM json_each(?)) AND hour >= ?"
_USAGE = f"SELECT key_id, hour, refusal, requests FROM usage WHERE {_OF_KEYS} ORDER BY key_id, hour, refusal"
_RECENT = f"""SELECT key_id, sum(iif(refusal = '', requests, 0)), sum(iif(refusal = '', 0, requests))
    FROM usage WHERE {_OF_KEYS} GROUP BY key_id"""
_PASSWORD_SET = """SELECT 1 FROM accounts AS a JOIN audit AS e ON e.account = a.email
    WHERE e.what = ? AND e.at >= a.created LIMIT 1"""
log = logging.getLogger(__name__)


class SqliteStore:
    """The store at ``path``. Make one with ``open``; everything may raise StoreError."""

    def __init__(self, path: Path, bell: Doorbell, lock_timeout: float) -> None:
        self.path = path
        self._bell = bell
        self._lock_timeout = lock_timeout
        self._rung: list[Row] = []  # the last row of the log when we rang last
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
        """Return one transaction: when the block has ended it is on disk, and the bell has rung if keys changed.

        Raising in the block undoes all of it. Only one at a time, so never one within another.
        """
        patience = self._lock_timeout
        async with in_turn(self._turn, patience, self.path), self._bell.locked_async(patience):
            try:
                await self._changes.begin()
                yield SqliteTransaction(self._changes)
                logged = await self._changes.ask(_LAST_LOGGED)
            except BaseException:
                await self._changes.roll_back()
                raise
            # From here on no cancellation: what is committed must ring.
            await settled(self._commit_and_ring(logged))

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
        return tuple(await self._asked(_USAGE, (json.dumps(list(key_ids)), since_hour)))

    async def recent(self, key_ids: Iterable[str], since_hour: int) -> dict[str, Recent]:
        """Return for each of these keys what was asked with it from an hour on; unused ones are left out."""
        found = await self._asked(_RECENT, (json.dumps(list(key_ids)), since_hour))
        return {key_id: Recent(requests, refused) for key_id, requests, refused in found}

    async def old_tls(self, since: float, limit: int, account_id: str | None = None) -> tuple[OldTlsUse, ...]:
        """Return who has called over old TLS versions since a moment, the latest first; of one account, or all."""
        return tuple(OldTlsUse(*row) for row in await self._asked(_OLD_TLS, (since, limit, account_id)))

    # Uses and usage: not worth a ring

    async def record_uses(self, uses: Iterable[Use]) -> None:
        """Keep last uses in one transaction; older ones than known, and those of keys that are gone, are dropped."""
        many = list(uses)
        marked = [(*_digests_of(mark), at, address) for _, at, address, mark in many if mark]
        await self._note((_USED, [use[:3] for use in many]), (_USED_SECRET, marked))

    async def record_usage(self, sums: Iterable[UsageSum]) -> None:
        """Add sums of usage in one transaction; those of keys that are gone are dropped."""
        await self._note((_COUNTED, sums))

    async def record_old_tls(self, seen: Iterable[OldTls]) -> None:
        """Add up who calls over old TLS versions; of each key only the ``OLD_ADDRESSES`` seen latest are kept."""
        many = list(seen)
        await self._note((_SAW_OLD, many), (_FORGET_OLD, [(key,) for key in dict.fromkeys(one[0] for one in many)]))

    async def record_smtp_use(self, credential_id: str, at: float, address: str) -> None:
        """Keep the last use of an SMTP credential; what cannot be kept is logged, and no error.

        A last use is a convenience: a full disk must not end the sending of mail that could go on.
        """
        try:
            await self._note((USED, [(credential_id, at, address)]))
        except StoreError as error:
            log.warning("the last use of SMTP credential %s cannot be kept: %s", credential_id, error)

    async def _note(self, *noted: tuple[str, Iterable[tuple[object, ...]]]) -> None:
        async with self._noting:
            try:
                await self._uses.begin()
                for statement, rows_ in noted:
                    await self._uses.many(statement, list(rows_))
                await self._uses.commit()
            except BaseException:
                await self._uses.roll_back()
                raise

    async def _asked(self, sql: str, values: tuple[object, ...] = ()) -> list[Row]:
        await self._reads.renew()
        return await self._reads.ask(sql, values)

    async def _reading(self) -> rows.SqliteReading:
        await self._reads.renew()
        return rows.SqliteReading(self._reads)

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
            return await self._changes.ask(_LAST_LOGGED) == logged
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
    except BaseException:
        bell.close()
        raise
    return bell


def _not_lost(path: Path) -> None:
    """Raise StoreUnreadable where a store was, and is gone: an empty one in its place would refuse every key.

    The passwords are made after the store; so whoever makes it for the first time finds none.
    """
    passwords = passwords_of(path)
    if not path.exists() and passwords.exists():
        remedy = f"put it back, or take {passwords.name} away as well to begin with an empty one"
        raise unreadable(path, f"it is gone, but the passwords beside it are there; {remedy}")


def _digests_of(mark: str) -> tuple[bytes, bytes]:
    """The first and the last digest that begin as ``mark`` (hexadecimal) says."""
    start = bytes.fromhex(mark)
    rest = DIGEST_BYTES - len(start)
    return start + bytes(rest), start + b"\xff" * rest
