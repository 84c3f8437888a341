"""The engines that keep a store, for the tests of what all of them keep: ``engine`` is each of them in turn.

Law: what a test has to do to the store from outside, in the words of each engine; no test stands here.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from argon2 import PasswordHasher

from keystile.keys.keyring import Keyring
from keystile.storage.access import AccessStore
from keystile.storage.doorbell import LOCK_TIMEOUT, Doorbell
from keystile.storage.follow import KeyFollower
from keystile.storage.passwords import Passwords, passwords_of
from keystile.storage.sqlite import SqliteStore
from keystile.storage.store import Store

Clock = Callable[[], float]


class Engine(Protocol):
    """One store, empty at first. ``path``: where its files lie on this host; ``spec``: all that names it, as text."""

    path: Path
    spec: str
    broken_rule: type[Exception]
    audit_attacks: tuple[str, ...]

    async def open(self, lock_timeout: float = LOCK_TIMEOUT) -> Store:
        """Open it for writing."""

    async def access(self) -> AccessStore:
        """Open sessions, links and tokens."""

    async def passwords(self, hasher: PasswordHasher | None = None, clock: Clock = time.time) -> Passwords:
        """Open the passwords."""

    def follower(self, keyring: Keyring, clock: Clock, steady: Clock) -> KeyFollower:
        """A relay's side."""

    def locked(self) -> AbstractContextManager[None]:
        """Somebody else is changing keys while the block lasts."""

    def run(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement past us, on the keys' tables."""

    def run_access(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement past us, on the passwords' tables. Placeholders are ``?``."""

    def examine(self) -> None:
        """Fail where it is damaged."""


class SqliteEngine:
    """Files in a folder."""

    broken_rule: type[Exception] = sqlite3.IntegrityError
    audit_attacks: tuple[str, ...] = (
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit (seq, at, actor, origin, what, account, details)"
        " VALUES (1, 0, '', '', 'key.created', '', '')",
    )

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spec = str(path)

    async def open(self, lock_timeout: float = LOCK_TIMEOUT) -> Store:
        return await SqliteStore.open(self.path, lock_timeout)

    async def access(self) -> AccessStore:
        return await AccessStore.open(self.path)

    async def passwords(self, hasher: PasswordHasher | None = None, clock: Clock = time.time) -> Passwords:
        return await Passwords.open(self.path, hasher, clock)

    def follower(self, keyring: Keyring, clock: Clock, steady: Clock) -> KeyFollower:
        return KeyFollower(self.path, keyring, clock, steady)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with closing(Doorbell(self.path)) as other, other.locked():
            yield

    def run(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return _run(self.path, sql, values)

    def run_access(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return _run(passwords_of(self.path), sql, values)

    def examine(self) -> None:
        assert self.run("PRAGMA integrity_check") == [("ok",)]


def _run(path: Path, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(sql, values).fetchall()
        connection.commit()
        return found


def engine_of(spec: str) -> Engine:
    """The engine that ``spec`` names."""
    return SqliteEngine(Path(spec))


@pytest.fixture(params=["sqlite"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """An empty store in each engine."""
    assert request.param == "sqlite"
    return SqliteEngine(tmp_path / "keystile.db")
