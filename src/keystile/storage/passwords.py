"""Passwords of accounts, in a file of their own beside the store, which relays never open.

Law: this file sees passwords in clear and keeps only argon2id hashes (RFC 9106, argon2-cffi's defaults).
Hashing takes tens of milliseconds and 64 MiB, so it runs in threads, at most two at a time.

Sessions and one-time links lie in the same file (``access.py``): a new password ends them, by triggers.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from argon2.low_level import ARGON2_VERSION

from keystile.storage.asking import Asking
from keystile.storage.connection import Connection
from keystile.storage.doorbell import Doorbell
from keystile.storage.migrate import PASSWORDS, make_file, prepare

MIN_LENGTH = 8
MAX_LENGTH = 1024

_SET = """INSERT INTO passwords (account_id, hash, changed) SELECT ?1, ?2, ?3 WHERE {}
    ON CONFLICT (account_id) DO UPDATE
    SET hash = excluded.hash, changed = excluded.changed, version = passwords.version + 1
    RETURNING account_id"""
_IS_VERSION = "EXISTS (SELECT 1 FROM passwords WHERE account_id = ?1 AND version = ?4)"
_IS_LINK = "EXISTS (SELECT 1 FROM links WHERE digest = ?{} AND expires > ?3)"
_OF_AN_ACCOUNT = ("links", "sessions", "tokens", "passwords", "known_addresses", "remembered")


class PasswordRefused(ValueError):
    """The password is too short or too long; the message does not repeat it."""


def passwords_of(store: Path) -> Path:
    """Return the path of the passwords of a store: keystile-passwords.db for keystile.db."""
    return store.with_name(f"{store.stem}-passwords{store.suffix}")


class Passwords:
    """The passwords beside the store at ``store``. Make one with ``open``; everything may raise StoreError."""

    def __init__(self, connection: Asking, hasher: PasswordHasher, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._hasher = hasher
        self._clock = clock
        self._threads = asyncio.Semaphore(2)
        self._decoy = decoy(hasher)

    @classmethod
    async def open(
        cls, store: Path, hasher: PasswordHasher | None = None, clock: Callable[[], float] = time.time
    ) -> Passwords:
        """Open the file beside the store, making it (0600) where needed."""
        path = await asyncio.to_thread(prepared, store)
        return cls(Connection(path, "synchronous = FULL"), hasher or PasswordHasher(), clock)

    async def close(self) -> None:
        """Close the file."""
        await self._connection.close()

    async def set_password(
        self, account_id: str, password: str, *, version: int | None = None, link: bytes | None = None
    ) -> bool:
        """Set the account's password, in place of an earlier one; its sessions and one-time links end.

        Given a ``version`` (of ``check``) or a ``link`` (its digest), only while that is still good: returns
        whether it was. Raises PasswordRefused.
        """
        check_rules(password)
        conditions, values = ["1 = 1"], [account_id, await self._hash(password), self._clock()]
        if version is not None:
            conditions.append(_IS_VERSION)
            values.append(version)
        if link is not None:
            conditions.append(_IS_LINK.format(len(values) + 1))
            values.append(link)
        await self._connection.renew()
        return bool(await self._connection.ask(_SET.format(" AND ".join(conditions)), values))

    async def verify(self, account_id: str | None, password: str) -> bool:
        """Say whether this is the account's password; as ``check``."""
        return await self.check(account_id, password) is not None

    async def check(self, account_id: str | None, password: str) -> int | None:
        """Return the version of the account's password, if this is it.

        Takes as long for an account that has none (or is None), so that nobody learns by time who has one.
        """
        if len(password) > MAX_LENGTH:
            return None
        await self._connection.renew()
        found = await self._connection.ask("SELECT hash, version FROM passwords WHERE account_id = ?", (account_id,))
        hashed, version = found[0] if found else (self._decoy, None)
        async with self._threads:
            right = await asyncio.to_thread(self._matches, hashed, password)
        if not right or version is None:
            return None
        if self._hasher.check_needs_rehash(hashed):
            await self._rehash(str(account_id), hashed, password)
        return int(version)

    async def has(self, account_id: str) -> bool:
        """Say whether the account has a password."""
        await self._connection.renew()
        return bool(await self._connection.ask("SELECT 1 FROM passwords WHERE account_id = ?", (account_id,)))

    async def any(self) -> bool:
        """Say whether any account has a password."""
        await self._connection.renew()
        return bool(await self._connection.ask("SELECT 1 FROM passwords LIMIT 1"))

    async def delete(self, account_id: str) -> None:
        """Forget the account's password and all that signs in as it; none is no error."""
        await self._connection.renew()
        for table in _OF_AN_ACCOUNT:
            await self._connection.ask(f"DELETE FROM {table} WHERE account_id = ?", (account_id,))

    async def _rehash(self, account_id: str, old: str, password: str) -> None:
        """The same password at today's cost, unless it has been changed meanwhile."""
        hashed = await self._hash(password)
        sql = "UPDATE passwords SET hash = ? WHERE account_id = ? AND hash = ?"
        await self._connection.ask(sql, (hashed, account_id, old))

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, _bytes(password))
        except (VerifyMismatchError, InvalidHashError):
            return False

    async def _hash(self, password: str) -> str:
        async with self._threads:
            return await asyncio.to_thread(self._hasher.hash, _bytes(password))


def check_rules(password: str) -> None:
    """Raise PasswordRefused for a password that cannot be one."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise PasswordRefused(f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters")


def decoy(hasher: PasswordHasher) -> str:
    """Return what looks like a hash of this cost and is no password's: to compare with it takes as long as with one.

    Made up rather than hashed: every start of the gateway would pay for that, and no password would be any righter.
    """
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    salt, made_up = (
        b64encode(secrets.token_bytes(length)).rstrip(b"=").decode() for length in (hasher.salt_len, hasher.hash_len)
    )
    return f"$argon2id$v={ARGON2_VERSION}${cost}${salt}${made_up}"


def prepared(store: Path) -> Path:
    """Make the file beside the store, or bring it to this version's schema; return its path."""
    path = passwords_of(store)
    make_file(path)
    prepare(path, PASSWORDS, _alone(store))
    return path


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Of two who start at once one does the work; the lock is the store's own."""
    with closing(Doorbell(store)) as bell, bell.locked():
        yield


def _bytes(password: str) -> bytes:
    # JSON can carry halves of surrogate pairs, which UTF-8 proper cannot.
    return password.encode("utf-8", "surrogatepass")
