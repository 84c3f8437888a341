"""What the tests of coming in stand on: the rules over a real store, with a clock that is set by hand.

Law: everything is real but the clock and argon2's cost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from argon2 import PasswordHasher

from keystile.keys.audit import AuditEvent
from keystile.keys.key import Account
from keystile.keys.service import KeyService
from keystile.management.access import Access, SignedIn
from keystile.storage.passwords import Passwords
from keystile.storage.sqlite import SqliteStore

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ANN, BOB, NOBODY = "ann@example.com", "bob@example.com", "nobody@example.com"
PASSWORD, NEW, WRONG = "correct horse battery", "a newer password", "battery staple"
HOME, OFFICE, ELSEWHERE = "192.0.2.1", "198.51.100.7", "203.0.113.9"
BY = {"actor": "test", "origin": "test"}
NOW = 1_790_000_000.0


class Clock:
    """Unix seconds, set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Door:
    """The rules, and what lies behind them."""

    path: Path
    access: Access
    keys: KeyService
    store: SqliteStore
    passwords: Passwords
    clock: Clock = field(default_factory=Clock)

    async def account(self, email: str = ANN, password: str = PASSWORD, operator: bool = False) -> Account:
        """A new account with a password; it has not signed in from anywhere."""
        account = await self.keys.create_account(email, operator, **BY)
        await self.passwords.set_password(account.id, password)
        return account

    async def enter(self, email: str = ANN, password: str = PASSWORD, address: str = HOME) -> SignedIn:
        """Sign in; it must succeed."""
        answer = await self.access.sign_in(email, password, address, "Browser/1.0")
        assert isinstance(answer, SignedIn)
        return answer

    async def lasts(self, signed_in: SignedIn) -> bool:
        """Whether the session still lets its holder in."""
        return await self.access.session(signed_in.secret) is not None

    async def told(self) -> list[tuple[str, str, str]]:
        """The audit table, newest first: what, whom it is about, from where."""
        events: tuple[AuditEvent, ...] = await self.keys.events()
        return [(event.what.value, event.account, event.origin) for event in events]

    def on_disk(self) -> bytes:
        """All that lies in files beside the store."""
        return b"".join(file.read_bytes() for file in self.path.parent.iterdir() if file.is_file())


@asynccontextmanager
async def door(directory: Path, clock: Clock | None = None) -> AsyncIterator[Door]:
    """The rules over the store in ``directory``; a second time, they are what a restart would find."""
    clock, path = clock or Clock(), directory / "keystile.db"
    async with await SqliteStore.open(path) as store:
        keys = KeyService(store, clock)
        passwords = await Passwords.open(path, CHEAP, clock)
        access = await Access.open(path, keys, store, passwords, clock)
        try:
            yield Door(path, access, keys, store, passwords, clock)
        finally:
            await access.close()
