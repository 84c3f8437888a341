"""Passwords of accounts, in a file of their own beside the store, which relays never open.

Law: this file sees passwords in clear and keeps only argon2id hashes (RFC 9106, argon2-cffi's defaults).
Hashing takes tens of milliseconds and 64 MiB, so it runs in threads, at most two at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from keystile.storage.connection import Connection
from keystile.storage.migrate import PASSWORDS, make_file, prepare

MIN_LENGTH = 8
MAX_LENGTH = 1024


class PasswordRefused(ValueError):
    """The password is too short or too long; the message does not repeat it."""


def passwords_of(store: Path) -> Path:
    """Return the path of the passwords of a store: keystile-passwords.db for keystile.db."""
    return store.with_name(f"{store.stem}-passwords{store.suffix}")


class Passwords:
    """The passwords beside the store at ``store``. Make one with ``open``; everything may raise StoreError."""

    def __init__(self, path: Path, hasher: PasswordHasher, clock: Callable[[], float]) -> None:
        self._connection = Connection(path, "synchronous = FULL")
        self._hasher = hasher
        self._clock = clock
        self._threads = asyncio.Semaphore(2)
        self._decoy: str | None = None

    @classmethod
    async def open(
        cls, store: Path, hasher: PasswordHasher | None = None, clock: Callable[[], float] = time.time
    ) -> Passwords:
        """Open the file beside the store, making it (0600) where needed."""
        path = passwords_of(store)
        await asyncio.to_thread(_prepare, path)
        return cls(path, hasher or PasswordHasher(), clock)

    async def close(self) -> None:
        """Close the file."""
        await self._connection.close()

    async def set_password(self, account_id: str, password: str) -> None:
        """Set the account's password, in place of an earlier one. Raises PasswordRefused."""
        if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
            raise PasswordRefused(f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters")
        hashed = await self._hash(password)
        await self._connection.renew()
        await self._connection.ask(
            "INSERT INTO passwords (account_id, hash, changed) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (account_id) DO UPDATE SET hash = ?2, changed = ?3",
            (account_id, hashed, self._clock()),
        )

    async def verify(self, account_id: str | None, password: str) -> bool:
        """Say whether this is the account's password.

        Takes as long for an account that has none (or is None), so that nobody learns by time who has one.
        """
        if len(password) > MAX_LENGTH:
            return False
        await self._connection.renew()
        found = await self._connection.ask("SELECT hash FROM passwords WHERE account_id = ?", (account_id,))
        hashed = found[0][0] if found else await self._decoy_hash()
        async with self._threads:
            right = await asyncio.to_thread(self._matches, hashed, password)
        if right and found and self._hasher.check_needs_rehash(hashed):
            await self.set_password(str(account_id), password)
        return right and bool(found)

    async def delete(self, account_id: str) -> None:
        """Forget the account's password; none is no error."""
        await self._connection.renew()
        await self._connection.ask("DELETE FROM passwords WHERE account_id = ?", (account_id,))

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    async def _hash(self, password: str) -> str:
        async with self._threads:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def _decoy_hash(self) -> str:
        if self._decoy is None:
            self._decoy = await self._hash("no account has this password")
        return self._decoy


def _prepare(path: Path) -> None:
    make_file(path)
    prepare(path, PASSWORDS, nullcontext())
