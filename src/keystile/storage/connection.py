"""One connection to a database file, opened anew when another file has been put in its place.

Law: this file knows aiosqlite and files, and no table.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from keystile.storage.asking import Row
from keystile.storage.errors import StoreUnreadable, told
from keystile.storage.migrate import BUSY_TIMEOUT
from keystile.storage.settled import settled

# On DEBUG it writes every statement with its values; digests and password hashes do not belong in logs.
logging.getLogger("aiosqlite").setLevel(logging.INFO)

FileId = tuple[int, int]


def file_id(path: Path) -> FileId:
    """Return which file lies at the path: its device and inode. Raises OSError."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


class Connection:
    """A connection with these pragmas, made when first used. Faults of SQLite are raised as StoreUnreadable."""

    def __init__(self, path: Path, *pragmas: str) -> None:
        self.path = path
        self._pragmas = pragmas
        self._opening = asyncio.Lock()
        self._connection: aiosqlite.Connection | None = None
        self._file: FileId | None = None

    @property
    def place(self) -> Path:
        """The file."""
        return self.path

    async def ask(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Return all rows of one statement."""
        with self._doubting(), told(self.path):
            found: Iterable[Any] = await (await self._current()).execute_fetchall(sql, values)
            return list(found)

    async def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each of the rows."""
        with self._doubting(), told(self.path):
            await (await self._current()).executemany(sql, rows)

    async def begin(self) -> None:
        """Begin to write. In one transaction the file is not asked for again: it is the one of its beginning."""
        await self.renew()
        await self.ask("BEGIN IMMEDIATE")

    async def commit(self) -> None:
        """Commit; when that fails nothing of the transaction remains."""
        with told(self.path):
            try:
                await self._opened().commit()
            except sqlite3.Error:
                await self._opened().rollback()
                raise

    async def roll_back(self) -> None:
        """Undo the transaction, if there is one, even when the caller is being cancelled."""
        if self._connection is not None:
            with told(self.path):
                await settled(self._connection.rollback())

    async def renew(self) -> None:
        """Go over to the file that is at the path now; not for the middle of a transaction."""
        with told(self.path):
            async with self._opening:
                if self._connection is None or self._file != file_id(self.path):
                    await settled(self._open())

    async def close(self) -> None:
        """Close; the next use opens again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await settled(connection.close())

    @contextmanager
    def _doubting(self) -> Iterator[None]:
        """After a fault the next ``renew`` opens anew: a file opened while it was read-only stays so."""
        try:
            yield
        except StoreUnreadable:
            self._file = None
            raise

    def _opened(self) -> aiosqlite.Connection:
        assert self._connection is not None
        return self._connection

    async def _current(self) -> aiosqlite.Connection:
        if self._connection is None:
            await self.renew()
        return self._opened()

    async def _open(self) -> None:
        old, self._connection = self._connection, None
        if old is not None:
            await old.close()
        # rw: a file that is missing is an error here; making one is for migrate.make_file.
        uri = f"{self.path.absolute().as_uri()}?mode=rw"
        self._file = file_id(self.path)
        connection = await aiosqlite.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT)
        try:
            for pragma in self._pragmas:
                await connection.execute_fetchall(f"PRAGMA {pragma}")
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
