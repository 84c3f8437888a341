"""The engines that keep a store, for the tests of what all of them keep: ``engine`` is each of them in turn.

Law: what a test has to do to the store from outside, in the words of each engine; no test stands here.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from argon2 import PasswordHasher

from keystile.keys.keyring import Keyring
from keystile.storage.access import AccessStore
from keystile.storage.doorbell import LOCK_TIMEOUT, Doorbell
from keystile.storage.follow import KeyFollower
from keystile.storage.mirrored import MirrorFollower
from keystile.storage.passwords import Passwords, passwords_of
from keystile.storage.postgresql.connection import KEYS, LOCK_SPACE, SCHEMA
from keystile.storage.postgresql.database import Database
from keystile.storage.postgresql.migrate import prepare
from keystile.storage.postgresql.placeholders import translated
from keystile.storage.postgresql.store import PostgresStore, open_access, open_passwords
from keystile.storage.sqlite import SqliteStore
from keystile.storage.store import Store
from tests.storage.postgres_server import Server, needs_postgresql, server

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

    async def examine(self) -> None:
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

    async def examine(self) -> None:
        assert self.run("PRAGMA integrity_check") == [("ok",)]


def _run(path: Path, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(sql, values).fetchall()
        connection.commit()
        return found


class PostgresEngine:
    """A database, and what this host keeps of it in a folder."""

    broken_rule: type[Exception] = psycopg.IntegrityError
    audit_attacks: tuple[str, ...] = (
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "INSERT INTO audit (seq, at, actor, origin, what, account, details)"
        " VALUES (1, 0, '', '', 'key.created', '', '') ON CONFLICT (seq) DO UPDATE SET actor = 'nobody'",
    )

    def __init__(self, database: Database, path: Path) -> None:
        self.database = database
        self.path = path
        self.spec = json.dumps([dict(database.options), str(path)])

    async def open(self, lock_timeout: float = LOCK_TIMEOUT) -> Store:
        return await PostgresStore.open(self.database, self.path, lock_timeout)

    async def access(self) -> AccessStore:
        await prepare(self.database)
        return await open_access(self.database)

    async def passwords(self, hasher: PasswordHasher | None = None, clock: Clock = time.time) -> Passwords:
        await prepare(self.database)
        return await open_passwords(self.database, hasher, clock)

    def follower(self, keyring: Keyring, clock: Clock, steady: Clock) -> KeyFollower:
        return MirrorFollower(self.path, keyring, clock, steady)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self._connected() as other, other.transaction():
            other.execute(f"SELECT pg_advisory_xact_lock({LOCK_SPACE}, {KEYS})".encode())
            yield

    def run(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._connected() as connection:
            cursor = connection.execute(translated(sql), values or None)
            return cursor.fetchall() if cursor.description else []

    run_access = run

    async def examine(self) -> None:
        """The database is not ours to examine; what this host keeps of it is."""
        await (await self.open()).close()  # a writer may have been killed before it told this host
        with closing(sqlite3.connect(self.path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            kept = connection.execute("SELECT id, name, scopes, version FROM keys ORDER BY id").fetchall()
        assert kept == self.run("SELECT id, name, scopes, version FROM keys ORDER BY id")

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        parameters: dict[str, Any] = self.database.parameters()
        options = f"-c search_path={SCHEMA}"
        return psycopg.connect("", autocommit=True, cursor_factory=psycopg.RawCursor, options=options, **parameters)


def engine_of(spec: str) -> Engine:
    """The engine that ``spec`` names."""
    if not spec.startswith("["):
        return SqliteEngine(Path(spec))
    options, path = json.loads(spec)
    return PostgresEngine(Database(tuple(options.items())), Path(path))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server for all tests of a process."""
    needs_postgresql()
    with server() as made:
        yield made


@pytest.fixture(scope="session")
def common_database(postgres: Server) -> Database:
    """One database for all tests of a process, one after the other: 900 files each would take longer than the tests."""
    return postgres.database()


def emptied(postgres: Server, database: Database) -> Database:
    """The database with our schema and nothing in it."""
    postgres.run(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE", dict(database.options)["dbname"])
    asyncio.run(prepare(database))
    return database


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """An empty store in each engine."""
    if request.param == "sqlite":
        return SqliteEngine(tmp_path / "keystile.db")
    database = emptied(request.getfixturevalue("postgres"), request.getfixturevalue("common_database"))
    return PostgresEngine(database, tmp_path / "keystile-mirror.db")
