"""``keystile store copy``: a whole store from one engine to the other, looked at again before it counts.

Law: the source is only read, as it was at one moment; the target must hold nothing. What was written is read again and
compared with the source, table by table, by number of rows and by digest, and only then committed. Synchronous.

What gateways change at the source after that moment is not in the copy: they are stopped first, or it is repeated.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg

from keystile.storage import migrate
from keystile.storage.asking import Row
from keystile.storage.doorbell import LOCK_TIMEOUT, Doorbell
from keystile.storage.errors import StoreError, told, unreadable
from keystile.storage.passwords import passwords_of, prepared
from keystile.storage.postgresql.connection import ACCESS, KEYS, LOCK_SPACE, SCHEMA
from keystile.storage.postgresql.database import Database
from keystile.storage.postgresql.faults import told_by
from keystile.storage.postgresql.migrate import SERIES, prepare
from keystile.storage.postgresql.placeholders import translated
from keystile.storage.postgresql.tables import ACCESS_TABLES, KEYS_TABLES, Sum, Table, summed
from keystile.storage.sqlite import SqliteStore

TABLES = (*KEYS_TABLES, *ACCESS_TABLES)
_AT_ONCE = 5_000
_TURNS = "; ".join(f"SELECT pg_advisory_xact_lock({LOCK_SPACE}, {lock})" for lock in (KEYS, ACCESS))
_NEXT_EVENT = "SELECT setval(pg_get_serial_sequence('audit', 'seq'), greatest((SELECT max(seq) FROM audit), 1))"


class CopyRefused(StoreError):
    """The target holds something, or what was written is not what was read; the message says which."""


class Side(Protocol):
    """One of the two stores, in a transaction."""

    def rows(self, table: Table) -> Iterator[Row]:
        """All rows in the order of the primary key."""

    def add(self, table: Table, rows: Iterable[Row]) -> None:
        """Add these rows."""


def copy(source: Path | Database, target: Path | Database) -> dict[str, Sum]:
    """Copy; return what each table holds. Raises CopyRefused, or StoreError. Nothing remains of a copy that failed."""
    with _reading(source) as read:
        _make(target)
        with _writing(target) as write:
            for table in TABLES:
                if next(write.rows(table), None) is not None:
                    said = f"{target} holds something already ({table.name}); name another"
                    raise CopyRefused(said, "it is not empty")
            sums = {}
            for table in TABLES:
                write.add(table, read.rows(table))
                sums[table.name] = summed(read.rows(table))
            for table in TABLES:
                if summed(write.rows(table)) != sums[table.name]:
                    raise CopyRefused(f"{target}: what was written to {table.name} is not what was read", "it differs")
    return sums


def _make(target: Path | Database) -> None:
    async def make() -> None:
        if isinstance(target, Database):
            await prepare(target)
        else:
            await (await SqliteStore.open(target)).close()
            await asyncio.to_thread(prepared, target)

    asyncio.run(make())


class _Files:
    """SQLite's two files."""

    def __init__(self, path: Path, keys: sqlite3.Connection, access: sqlite3.Connection) -> None:
        self._path = path
        self._keys, self._access = keys, access

    def rows(self, table: Table) -> Iterator[Row]:
        with told(self._path):
            yield from self._of(table).execute(table.reading)

    def add(self, table: Table, rows: Iterable[Row]) -> None:
        with told(self._path):
            self._of(table).executemany(table.writing, rows)

    def _of(self, table: Table) -> sqlite3.Connection:
        return self._keys if table in KEYS_TABLES else self._access


class _Tables:
    """PostgreSQL's tables."""

    def __init__(self, database: Database, connection: psycopg.Connection[Row]) -> None:
        self._database = database
        self._connection = connection

    def rows(self, table: Table) -> Iterator[Row]:
        with told_by(self._database), self._connection.cursor(f"of_{table.name}") as cursor:
            cursor.itersize = _AT_ONCE
            yield from cursor.execute(table.reading.encode())

    def add(self, table: Table, rows: Iterable[Row]) -> None:
        with told_by(self._database), psycopg.RawCursor(self._connection) as cursor:
            cursor.executemany(translated(table.writing), map(table.as_flags, rows))
            if table.name == "audit":
                cursor.execute(_NEXT_EVENT.encode())


@contextmanager
def _reading(source: Path | Database) -> Iterator[Side]:
    if isinstance(source, Database):
        with _connected(source) as database:
            database.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            _be_of_this_schema(source, database)
            yield _Tables(source, database)
        return
    with ExitStack() as opened:
        files = [(source, migrate.STORE), (passwords_of(source), migrate.PASSWORDS)]
        connections = [opened.enter_context(_file(path, "ro")) for path, _ in files]
        with told(source):
            bell = opened.enter_context(closing(Doorbell(source)))
        with bell.locked(LOCK_TIMEOUT):
            for connection, (path, series) in zip(connections, files, strict=True):
                with told(path):
                    connection.execute("BEGIN")  # the first look fixes the moment
                    if migrate.check(connection, path, series) != max(series.scripts()):
                        raise unreadable(path, "it is of an older Keystile; start the gateway once, which brings it up")
        yield _Files(source, *connections)


@contextmanager
def _writing(target: Path | Database) -> Iterator[Side]:
    """Committed when the block ends, undone when it raises."""
    if isinstance(target, Database):
        with _connected(target) as database:
            database.execute(_TURNS.encode())
            yield _Tables(target, database)
        return
    with ExitStack() as opened:
        with told(target):
            bell = opened.enter_context(closing(Doorbell(target)))
        opened.enter_context(bell.locked(LOCK_TIMEOUT))
        keys, access = (opened.enter_context(_file(path, "rw")) for path in (target, passwords_of(target)))
        for connection in (keys, access):
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE")
        yield _Files(target, keys, access)
        with told(target):
            access.commit()
            keys.commit()
            bell.ring()


def _be_of_this_schema(source: Database, connection: psycopg.Connection[Row]) -> None:
    with told_by(source):
        [(version,)] = connection.execute(b"SELECT version FROM schema_version").fetchall()
    if version != max(SERIES.scripts()):
        raise unreadable(str(source), f"it is of another Keystile: schema {version}; known: {max(SERIES.scripts())}")


@contextmanager
def _file(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    with told(path):
        path.stat()  # SQLite says of a missing file only that it cannot open it
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=migrate.BUSY_TIMEOUT)
    with closing(connection):
        yield connection


@contextmanager
def _connected(database: Database) -> Iterator[psycopg.Connection[Row]]:
    parameters: dict[str, Any] = dict(database.parameters())
    with told_by(database):
        connection: psycopg.Connection[Row] = psycopg.connect("", **parameters)
    with told_by(database), connection:
        connection.execute(f"SET search_path = {SCHEMA}, pg_temp".encode())
        connection.commit()
        yield connection
